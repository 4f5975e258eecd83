/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per message on standard error: "hotdrain: warning: TEXT". Levels: error and warning
 * always show, info unless -q, debug with -v. A message is at most 1 KiB; control characters in it
 * are shown as '?', so that a file's name cannot write to a terminal. Safe from any thread.
 *
 * log_err(r, ...) and log_warn(r, ...) return r, so that a failure is logged and passed on in one
 * statement. r is 0 or -errno and is not printed: say what it means with strerror in the text.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level most);
int log_at(enum log_level level, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#define log_err(r, ...)  log_at(LOG_ERR, (r), __VA_ARGS__)
#define log_warn(r, ...) log_at(LOG_WARN, (r), __VA_ARGS__)
#define log_info(...)    log_at(LOG_INFO, 0, __VA_ARGS__)
#define log_debug(...)   log_at(LOG_DEBUG, 0, __VA_ARGS__)

/*
 * Rate limit for a message that may repeat: true at most once per interval. Zero-initialised, one
 * per call site or object; suppressed is the number left out since the last true.
 */
struct log_limit {
	int64_t next_ns;
	uint64_t suppressed;
};
bool log_allow(struct log_limit *limit, int64_t interval_ns);

#endif
