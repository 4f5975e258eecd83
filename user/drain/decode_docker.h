/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DRAIN_DECODE_DOCKER_H
#define DRAIN_DECODE_DOCKER_H

#include <stdbool.h>
#include <stddef.h>

struct decoded;

/* An object with a text in "log" and with "stream" or "time" beside it, or the beginning of one
 * that was cut inside "log". */
bool docker_detect(const char *line, size_t len);

/* false: not a docker line, neither *ret nor the line was touched. cut as for decode_line. */
bool decode_docker(char *line, size_t len, bool cut, struct decoded *ret);

#endif
