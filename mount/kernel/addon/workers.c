/*
 * Threads for system calls that may wait for this very process: notifications (the kernel takes locks for them that
 * are free only when a request has been answered) and unmounting (it writes dirty pages back through us). Jobs go to
 * lanes; a lane adds a thread when all of its threads are at work, up to its bound, and then jobs wait in order.
 *
 * The workers live until workers_stop was called and every thread has ended; the last one's release of the
 * threadsafe function frees them.
 */
#include "addon.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

enum { LANES = 3, STACK_BYTES = 128 * 1024 };

typedef struct job {
  struct job *next;
  bool unmount;
  int id;
  int fd;    /* of a write */
  int flags; /* of an unmount */
  int result;
  size_t length;
  char data[];
} job_t;

typedef struct {
  job_t *first;
  job_t *last;
  int threads;
  int idle;    /* wait for a job, or are about to take one of those that wait */
  int waiting; /* jobs */
  int most;
  pthread_cond_t wake;
} lane_t;

typedef struct {
  pthread_mutex_t lock;
  lane_t lanes[LANES];
  int alive;   /* threads of all lanes */
  int running; /* jobs */
  bool stopping;
  napi_threadsafe_function done;
} workers_t;

typedef struct {
  workers_t *workers;
  lane_t *lane;
} place_t;

static int run(const job_t *job) {
  if (job->unmount) return umount2(job->data, job->flags) < 0 ? -errno : 0;
  ssize_t put;
  do put = write(job->fd, job->data, job->length);
  while (put < 0 && errno == EINTR);
  return put < 0 ? -errno : 0;
}

static job_t *take(workers_t *workers, lane_t *lane) {
  pthread_mutex_lock(&workers->lock);
  lane->idle++;
  while (lane->first == NULL && !workers->stopping) pthread_cond_wait(&lane->wake, &workers->lock);
  lane->idle--;
  job_t *job = lane->first;
  if (job != NULL) {
    lane->first = job->next;
    if (lane->first == NULL) lane->last = NULL;
    lane->waiting--;
    workers->running++;
  }
  pthread_mutex_unlock(&workers->lock);
  return job;
}

static void *work(void *argument) {
  place_t place = *(place_t *)argument;
  free(argument);
  for (job_t *job; (job = take(place.workers, place.lane)) != NULL;) {
    job->result = run(job);
    pthread_mutex_lock(&place.workers->lock);
    place.workers->running--;
    pthread_mutex_unlock(&place.workers->lock);
    napi_status told = napi_call_threadsafe_function(place.workers->done, job, napi_tsfn_nonblocking);
    if (told == napi_ok) continue;
    free(job);
    /* The process is ending, and this thread's hold on the function has ended with it. */
    if (told == napi_closing) return NULL;
  }
  pthread_mutex_lock(&place.workers->lock);
  place.workers->alive--;
  pthread_mutex_unlock(&place.workers->lock);
  napi_release_threadsafe_function(place.workers->done, napi_tsfn_release);
  return NULL;
}

/* Called with the lock held. */
static bool add_thread(workers_t *workers, lane_t *lane) {
  place_t *place = malloc(sizeof(*place));
  if (place == NULL) return false;
  *place = (place_t){workers, lane};
  if (napi_acquire_threadsafe_function(workers->done) != napi_ok) {
    free(place);
    return false;
  }
  pthread_t thread;
  pthread_attr_t attributes;
  sigset_t all, before;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = pthread_create(&thread, &attributes, work, place) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  if (!started) {
    napi_release_threadsafe_function(workers->done, napi_tsfn_release);
    free(place);
    return false;
  }
  lane->threads++;
  workers->alive++;
  return true;
}

/* Takes the job; frees it when it cannot be done. */
static int enqueue(workers_t *workers, int which, job_t *job) {
  if (which < 0 || which >= LANES) {
    free(job);
    return -EINVAL;
  }
  lane_t *lane = &workers->lanes[which];
  int result = 0;
  pthread_mutex_lock(&workers->lock);
  if (workers->stopping) result = -ESHUTDOWN;
  else if (lane->idle <= lane->waiting && lane->threads < lane->most && !add_thread(workers, lane) && lane->threads == 0)
    result = -EAGAIN;
  if (result == 0) {
    if (lane->last == NULL) lane->first = job;
    else lane->last->next = job;
    lane->last = job;
    lane->waiting++;
    pthread_cond_signal(&lane->wake);
  }
  pthread_mutex_unlock(&workers->lock);
  if (result != 0) free(job);
  return result;
}

static void deliver(napi_env env, napi_value callback, void *context, void *data) {
  (void)context;
  job_t *job = data;
  if (env != NULL) {
    napi_value receiver, arguments[2] = {number(env, job->id), number(env, job->result)};
    napi_get_undefined(env, &receiver);
    napi_call_function(env, receiver, callback, 2, arguments, NULL);
  }
  free(job);
}

static void finalize(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  workers_t *workers = data;
  pthread_mutex_lock(&workers->lock);
  workers->stopping = true;
  bool used = workers->alive > 0;
  pthread_mutex_unlock(&workers->lock);
  /* At the end of the process there may be threads still, which go with it. */
  if (used) return;
  for (int i = 0; i < LANES; i++) pthread_cond_destroy(&workers->lanes[i].wake);
  pthread_mutex_destroy(&workers->lock);
  free(workers);
}

/* startWorkers(callback, most...) -> handle: callback(id, result) for every job; `most` threads for each lane. */
napi_value workers_start(napi_env env, napi_callback_info info) {
  napi_value args[1 + LANES], name, handle = NULL;
  if (!arguments(env, info, 1 + LANES, args)) return NULL;
  workers_t *workers = calloc(1, sizeof(*workers));
  if (workers == NULL) return NULL;
  pthread_mutex_init(&workers->lock, NULL);
  for (int i = 0; i < LANES; i++) {
    pthread_cond_init(&workers->lanes[i].wake, NULL);
    if (!to_int(env, args[1 + i], &workers->lanes[i].most)) return NULL;
  }
  napi_create_string_utf8(env, "bigfs-fuse-workers", NAPI_AUTO_LENGTH, &name);
  if (napi_create_threadsafe_function(env, args[0], NULL, name, 0, 1, workers, finalize, NULL, deliver,
                                      &workers->done) != napi_ok) {
    napi_throw_error(env, NULL, "no threadsafe function");
    return NULL;
  }
  napi_create_external(env, workers, NULL, NULL, &handle);
  return handle;
}

static bool to_workers(napi_env env, napi_value value, workers_t **workers) {
  if (napi_get_value_external(env, value, (void **)workers) == napi_ok) return true;
  napi_throw_type_error(env, NULL, "a handle of startWorkers is expected");
  return false;
}

/* workerWrite(handle, lane, id, fd, buffer): copies the buffer. 0, or -errno and no callback. */
napi_value workers_write(napi_env env, napi_callback_info info) {
  napi_value args[5];
  workers_t *workers;
  int lane, id, fd;
  void *data;
  size_t length;
  if (!arguments(env, info, 5, args) || !to_workers(env, args[0], &workers) || !to_int(env, args[1], &lane) ||
      !to_int(env, args[2], &id) || !to_int(env, args[3], &fd) || !to_bytes(env, args[4], &data, &length))
    return NULL;
  job_t *job = calloc(1, sizeof(*job) + length);
  if (job == NULL) return number(env, -ENOMEM);
  job->id = id;
  job->fd = fd;
  job->length = length;
  memcpy(job->data, data, length);
  return number(env, enqueue(workers, lane, job));
}

/* workerUnmount(handle, lane, id, path, mode): 0 plain, 1 MNT_DETACH, 2 MNT_FORCE. 0, or -errno and no callback. */
napi_value workers_unmount(napi_env env, napi_callback_info info) {
  static const int flags[] = {0, MNT_DETACH, MNT_FORCE};
  napi_value args[5];
  workers_t *workers;
  int lane, id, mode;
  char *path;
  if (!arguments(env, info, 5, args) || !to_workers(env, args[0], &workers) || !to_int(env, args[1], &lane) ||
      !to_int(env, args[2], &id) || !to_int(env, args[4], &mode) || !to_text(env, args[3], &path))
    return NULL;
  size_t length = strlen(path) + 1;
  job_t *job = calloc(1, sizeof(*job) + length);
  if (job != NULL) memcpy(job->data, path, length);
  free(path);
  if (job == NULL || mode < 0 || mode > 2) {
    free(job);
    return number(env, job == NULL ? -ENOMEM : -EINVAL);
  }
  job->id = id;
  job->unmount = true;
  job->flags = flags[mode] | UMOUNT_NOFOLLOW;
  return number(env, enqueue(workers, lane, job));
}

/*
 * stopWorkers(handle): the threads end when the jobs that wait are done. Jobs that are under way do not keep the process
 * alive any more; threads without one do, for the moment until they have ended: a process that ends before them takes
 * away what they still have to release. The handle must not be used again.
 */
napi_value workers_stop(napi_env env, napi_callback_info info) {
  napi_value args[1];
  workers_t *workers;
  if (!arguments(env, info, 1, args) || !to_workers(env, args[0], &workers)) return NULL;
  pthread_mutex_lock(&workers->lock);
  workers->stopping = true;
  bool under_way = workers->running > 0;
  for (int i = 0; i < LANES; i++) {
    under_way = under_way || workers->lanes[i].waiting > 0;
    pthread_cond_broadcast(&workers->lanes[i].wake);
  }
  pthread_mutex_unlock(&workers->lock);
  if (under_way) napi_unref_threadsafe_function(env, workers->done);
  napi_release_threadsafe_function(workers->done, napi_tsfn_release);
  return NULL;
}
