/*
 * The descriptor of /dev/fuse: requests are read without blocking when uv_poll says that there are some, answers are
 * written at once (the kernel takes or refuses them, it never makes the writer wait for room).
 */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

napi_value device_open(napi_env env, napi_callback_info info) {
  (void)info;
  int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  return number(env, fd < 0 ? -errno : fd);
}

napi_value device_close(napi_env env, napi_callback_info info) {
  napi_value args[1];
  int fd;
  if (!arguments(env, info, 1, args) || !to_int(env, args[0], &fd)) return NULL;
  return number(env, close(fd) < 0 ? -errno : 0);
}

/* read(fd, buffer) */
napi_value device_read(napi_env env, napi_callback_info info) {
  napi_value args[2];
  int fd;
  void *data;
  size_t length;
  if (!arguments(env, info, 2, args) || !to_int(env, args[0], &fd) || !to_bytes(env, args[1], &data, &length))
    return NULL;
  ssize_t got = read(fd, data, length);
  return number(env, got < 0 ? -errno : (double)got);
}

/* write(fd, head, headLength, body): the first headLength bytes of head and then body, as one message. */
napi_value device_write(napi_env env, napi_callback_info info) {
  napi_value args[4];
  int fd, head_length;
  void *head, *body;
  size_t head_size, body_length;
  if (!arguments(env, info, 4, args) || !to_int(env, args[0], &fd) || !to_bytes(env, args[1], &head, &head_size) ||
      !to_int(env, args[2], &head_length) || !to_bytes(env, args[3], &body, &body_length))
    return NULL;
  if (head_length < 0 || (size_t)head_length > head_size) return number(env, -EINVAL);
  struct iovec parts[2] = {{head, (size_t)head_length}, {body, body_length}};
  ssize_t put = writev(fd, parts, body_length > 0 ? 2 : 1);
  return number(env, put < 0 ? -errno : (double)put);
}

typedef struct {
  uv_poll_t poll;
  napi_env env;
  napi_ref callback;
  napi_async_context context;
  bool open;
} watch_t;

static void free_watch(uv_handle_t *handle) {
  free(handle->data);
}

static void close_watch(void *data) {
  watch_t *watch = data;
  if (!watch->open) return;
  watch->open = false;
  napi_delete_reference(watch->env, watch->callback);
  napi_async_destroy(watch->env, watch->context);
  uv_poll_stop(&watch->poll);
  uv_close((uv_handle_t *)&watch->poll, free_watch);
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  (void)events;
  watch_t *watch = poll->data;
  napi_env env = watch->env;
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value callback, receiver, argument = number(env, status);
  napi_get_reference_value(env, watch->callback, &callback);
  napi_get_global(env, &receiver);
  if (napi_make_callback(env, watch->context, receiver, callback, 1, &argument, NULL) == napi_pending_exception) {
    napi_value error;
    napi_get_and_clear_last_exception(env, &error);
    napi_fatal_exception(env, error);
  }
  napi_close_handle_scope(env, scope);
}

/* watch(fd, callback) -> handle: calls back with 0 whenever the descriptor is readable, until unwatch. */
napi_value device_watch(napi_env env, napi_callback_info info) {
  napi_value args[2], name, handle = NULL;
  int fd;
  uv_loop_t *loop;
  if (!arguments(env, info, 2, args) || !to_int(env, args[0], &fd)) return NULL;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return NULL;
  watch_t *watch = calloc(1, sizeof(*watch));
  if (watch == NULL || uv_poll_init(loop, &watch->poll, fd) != 0) {
    free(watch);
    napi_throw_error(env, NULL, "the descriptor cannot be watched");
    return NULL;
  }
  watch->env = env;
  watch->open = true;
  watch->poll.data = watch;
  napi_create_reference(env, args[1], 1, &watch->callback);
  napi_create_string_utf8(env, "bigfs-fuse", NAPI_AUTO_LENGTH, &name);
  napi_async_init(env, NULL, name, &watch->context);
  napi_add_env_cleanup_hook(env, close_watch, watch);
  uv_poll_start(&watch->poll, UV_READABLE, on_readable);
  napi_create_external(env, watch, NULL, NULL, &handle);
  return handle;
}

napi_value device_unwatch(napi_env env, napi_callback_info info) {
  napi_value args[1];
  void *watch;
  if (!arguments(env, info, 1, args) || napi_get_value_external(env, args[0], &watch) != napi_ok) return NULL;
  napi_remove_env_cleanup_hook(env, close_watch, watch);
  close_watch(watch);
  return NULL;
}
