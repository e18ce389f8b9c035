/** The import directions of daemon/ARCHITECTURE.md. */
const only = (from, to, exceptions = []) => ({
  name: `${from} imports only ${to.join(", ") || "itself"}`,
  severity: "error",
  from: { path: `^${from}/`, ...(exceptions.length ? { pathNot: exceptions } : {}) },
  to: { path: "^(daemon|mount|proto|test|scripts)/", pathNot: [`^${from}/`, ...to.map((t) => `^${t}/`)] },
});
const library = (name, owner) => ({
  name: `only ${owner} imports ${name}`,
  severity: "error",
  from: { path: "^(daemon|mount|proto)/", pathNot: [`^${owner}`] },
  to: { path: `node_modules/${name}/` },
});
module.exports = {
  forbidden: [
    {
      name: "no cycles",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    only("proto", []),
    only("daemon/common", ["proto"]),
    only("daemon/meta", ["daemon/common", "proto"]),
    only("daemon/store", ["daemon/common", "proto"]),
    only("daemon/cli", ["daemon", "mount", "proto"]),
    only("mount", ["daemon/common", "proto"]),
    {
      name: "vfs knows no adapter",
      severity: "error",
      from: { path: "^mount/vfs/" },
      to: { path: "^mount/(kernel|clients)/|^mount/[^/]+$", pathNot: "^mount/vfs/" },
    },
    {
      name: "kernel knows the port only",
      severity: "error",
      from: { path: "^mount/kernel/" },
      to: { path: "^mount/(clients|vfs)/", pathNot: "^mount/vfs/filesystem.ts$" },
    },
    {
      name: "native knows the port, and of the kernel binding what is about mount points",
      severity: "error",
      from: { path: "^mount/native/" },
      to: {
        path: "^mount/",
        pathNot: "^mount/(native/|vfs/filesystem.ts$|kernel/(mount|mountinfo|mountpoint|session|unmount)\\.ts$)",
      },
    },
    {
      name: "files know the port only",
      severity: "error",
      from: { path: "^mount/files/" },
      to: { path: "^mount/", pathNot: "^mount/(files/|vfs/filesystem.ts$)" },
    },
    {
      name: "pure modules import no Node API",
      severity: "error",
      from: { path: "^(daemon/meta/rules/|daemon/common/(overlay|placement)\\.ts|mount/kernel/codec/)" },
      to: { dependencyTypes: ["core"] },
    },
    library("fuse-native", "mount/native/"),
    library("sqlite3", "daemon/meta/sqlite/"),
    library("@grpc/grpc-js", "daemon/common/rpc/"),
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "^(dist|\\.build)/" },
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
  },
};
