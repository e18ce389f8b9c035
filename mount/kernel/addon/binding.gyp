{
  "targets": [
    {
      "target_name": "fuse",
      "sources": ["module.c", "device.c", "mount.c", "workers.c"],
      "defines": ["NAPI_VERSION=8", "_GNU_SOURCE", "_FILE_OFFSET_BITS=64"],
      "cflags": ["-std=c11", "-Wall", "-Wextra", "-O2"],
      "libraries": ["-lpthread"]
    }
  ]
}
