/* SPDX-License-Identifier: Apache-2.0 */
/* A thread beside the event loop, and the eventfds by which two threads wake each other. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <stddef.h>

/* It blocks all signals: they are the event loop's. 0 or -errno. */
int thread_start(pthread_t *ret_thread, void *(*run)(void *ctx), void *ctx);

/* n non-blocking eventfds; 0 or -errno, and those that were made are the caller's in any case. */
int thread_events(int *const *fds, size_t n);
void thread_event_set(int fd);
void thread_event_clear(int fd);

#endif
