// SPDX-License-Identifier: Apache-2.0
#include "heat/bpf_log.h"

#include <bpf/libbpf.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

static int print_debug(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char text[1000], *save = NULL;

	vsnprintf(text, sizeof(text), fmt, ap);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		log_debug("%s", line);
	return 0;
}

void bpf_log_quietly(void)
{
	libbpf_set_print(print_debug);
}
