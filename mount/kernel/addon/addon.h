/*
 * The system calls of a FUSE server, for JavaScript. Everything here returns a number: what the system call returned, or
 * -errno. The protocol is not known here.
 */
#ifndef BIGFS_FUSE_ADDON_H
#define BIGFS_FUSE_ADDON_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A JavaScript number. */
napi_value number(napi_env env, double value);

/* Reads `count` arguments; throws a TypeError and returns false when there are fewer. */
bool arguments(napi_env env, napi_callback_info info, size_t count, napi_value *into);

/* Each throws a TypeError and returns false when the value is of another type. */
bool to_int(napi_env env, napi_value value, int *into);
bool to_bytes(napi_env env, napi_value value, void **data, size_t *length);
/* A copy that the caller frees. */
bool to_text(napi_env env, napi_value value, char **text);

/* device.c */
napi_value device_open(napi_env env, napi_callback_info info);
napi_value device_close(napi_env env, napi_callback_info info);
napi_value device_read(napi_env env, napi_callback_info info);
napi_value device_write(napi_env env, napi_callback_info info);
napi_value device_watch(napi_env env, napi_callback_info info);
napi_value device_unwatch(napi_env env, napi_callback_info info);

/* mount.c */
napi_value mount_direct(napi_env env, napi_callback_info info);
napi_value socket_pair(napi_env env, napi_callback_info info);
napi_value receive_descriptor(napi_env env, napi_callback_info info);
napi_value send_descriptor(napi_env env, napi_callback_info info);

/* workers.c */
napi_value workers_start(napi_env env, napi_callback_info info);
napi_value workers_write(napi_env env, napi_callback_info info);
napi_value workers_unmount(napi_env env, napi_callback_info info);
napi_value workers_stop(napi_env env, napi_callback_info info);

#endif
