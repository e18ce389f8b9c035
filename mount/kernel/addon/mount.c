/* Mounting: by mount(2), or by taking the descriptor that fusermount3 sends. And giving it to whoever shall keep it. */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

/* mount(source, target, type, readOnly, data) -> 0 or -errno. Neither devices nor set-user-id programs work on it. */
napi_value mount_direct(napi_env env, napi_callback_info info) {
  napi_value args[5];
  char *text[4] = {NULL, NULL, NULL, NULL};
  int read_only, result = -ENOMEM;
  if (!arguments(env, info, 5, args) || !to_int(env, args[3], &read_only)) return NULL;
  if (to_text(env, args[0], &text[0]) && to_text(env, args[1], &text[1]) && to_text(env, args[2], &text[2]) &&
      to_text(env, args[4], &text[3])) {
    unsigned long flags = MS_NOSUID | MS_NODEV | (read_only ? MS_RDONLY : 0);
    result = mount(text[0], text[1], text[2], flags, text[3]) < 0 ? -errno : 0;
  }
  for (int i = 0; i < 4; i++) free(text[i]);
  return number(env, result);
}

/* socketPair() -> [mine, theirs] or -errno; neither survives exec by itself. */
napi_value socket_pair(napi_env env, napi_callback_info info) {
  (void)info;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) return number(env, -errno);
  napi_value pair;
  napi_create_array_with_length(env, 2, &pair);
  napi_set_element(env, pair, 0, number(env, ends[0]));
  napi_set_element(env, pair, 1, number(env, ends[1]));
  return pair;
}

static int receive(int socket) {
  char byte, control[CMSG_SPACE(sizeof(int))];
  struct iovec part = {&byte, 1};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  ssize_t got;
  do got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  while (got < 0 && errno == EINTR);
  if (got < 0) return -errno;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (got == 0 || header == NULL || header->cmsg_type != SCM_RIGHTS) return -ENOENT;
  int fd;
  memcpy(&fd, CMSG_DATA(header), sizeof(fd));
  int flags = fcntl(fd, F_GETFL);
  if (flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0) return fd;
  int error = errno;
  close(fd);
  return -error;
}

/* receiveDescriptor(socket) -> the descriptor that waits there, made non-blocking, or -errno (-ENOENT: none came). */
napi_value receive_descriptor(napi_env env, napi_callback_info info) {
  napi_value args[1];
  int socket;
  if (!arguments(env, info, 1, args) || !to_int(env, args[0], &socket)) return NULL;
  return number(env, receive(socket));
}

/* sendDescriptor(socket, fd) -> 0 or -errno: gives whoever receives there a duplicate of the descriptor. */
napi_value send_descriptor(napi_env env, napi_callback_info info) {
  napi_value args[2];
  int socket, fd;
  if (!arguments(env, info, 2, args) || !to_int(env, args[0], &socket) || !to_int(env, args[1], &fd)) return NULL;
  char byte = 0, control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec part = {&byte, 1};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(fd));
  memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  return number(env, sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0);
}
