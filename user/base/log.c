/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static atomic_int level_most = LOG_INFO;

void log_set_level(enum log_level most)
{
	atomic_store(&level_most, (int)most);
}

int log_at(enum log_level level, int r, const char *fmt, ...)
{
	static const char *const names[] = {"error: ", "warning: ", "", "debug: "};
	char line[1100];
	va_list ap;
	int n, start;

	if ((int)level > atomic_load(&level_most))
		return r;
	start = snprintf(line, sizeof(line), "hotdrain: %s", names[level]);
	va_start(ap, fmt);
	n = vsnprintf(line + start, 1024, fmt, ap);
	va_end(ap);
	n = start + (n < 0 ? 0 : n > 1023 ? 1023 : n);
	for (int i = start; i < n; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[n++] = '\n';
	/* One write, so that lines of several threads do not mix; there is nobody to tell of an
	 * error. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return r;
	return r;
}

bool log_allow(struct log_limit *limit, int64_t interval_ns)
{
	int64_t now = clock_now_ns();

	if (now < limit->next_ns) {
		limit->suppressed++;
		return false;
	}
	limit->next_ns = now + interval_ns;
	return true;
}
