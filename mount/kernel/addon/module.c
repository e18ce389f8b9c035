#include "addon.h"

#include <stdlib.h>

napi_value number(napi_env env, double value) {
  napi_value result = NULL;
  napi_create_double(env, value, &result);
  return result;
}

bool arguments(napi_env env, napi_callback_info info, size_t count, napi_value *into) {
  size_t given = count;
  if (napi_get_cb_info(env, info, &given, into, NULL, NULL) == napi_ok && given >= count) return true;
  napi_throw_type_error(env, NULL, "too few arguments");
  return false;
}

bool to_int(napi_env env, napi_value value, int *into) {
  int32_t found;
  if (napi_get_value_int32(env, value, &found) == napi_ok) {
    *into = found;
    return true;
  }
  napi_throw_type_error(env, NULL, "a number is expected");
  return false;
}

bool to_bytes(napi_env env, napi_value value, void **data, size_t *length) {
  if (napi_get_buffer_info(env, value, data, length) == napi_ok) return true;
  napi_throw_type_error(env, NULL, "a Buffer is expected");
  return false;
}

bool to_text(napi_env env, napi_value value, char **text) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok) {
    napi_throw_type_error(env, NULL, "a string is expected");
    return false;
  }
  *text = malloc(length + 1);
  if (*text == NULL) {
    napi_throw_error(env, NULL, "out of memory");
    return false;
  }
  napi_get_value_string_utf8(env, value, *text, length + 1, NULL);
  return true;
}

NAPI_MODULE_INIT() {
  const napi_property_descriptor functions[] = {
      {"open", NULL, device_open, NULL, NULL, NULL, napi_enumerable, NULL},
      {"close", NULL, device_close, NULL, NULL, NULL, napi_enumerable, NULL},
      {"read", NULL, device_read, NULL, NULL, NULL, napi_enumerable, NULL},
      {"write", NULL, device_write, NULL, NULL, NULL, napi_enumerable, NULL},
      {"watch", NULL, device_watch, NULL, NULL, NULL, napi_enumerable, NULL},
      {"unwatch", NULL, device_unwatch, NULL, NULL, NULL, napi_enumerable, NULL},
      {"mount", NULL, mount_direct, NULL, NULL, NULL, napi_enumerable, NULL},
      {"socketPair", NULL, socket_pair, NULL, NULL, NULL, napi_enumerable, NULL},
      {"receiveDescriptor", NULL, receive_descriptor, NULL, NULL, NULL, napi_enumerable, NULL},
      {"sendDescriptor", NULL, send_descriptor, NULL, NULL, NULL, napi_enumerable, NULL},
      {"startWorkers", NULL, workers_start, NULL, NULL, NULL, napi_enumerable, NULL},
      {"workerWrite", NULL, workers_write, NULL, NULL, NULL, napi_enumerable, NULL},
      {"workerUnmount", NULL, workers_unmount, NULL, NULL, NULL, napi_enumerable, NULL},
      {"stopWorkers", NULL, workers_stop, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
  return exports;
}
