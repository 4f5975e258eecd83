/* SPDX-License-Identifier: Apache-2.0 */
#include "drain/decode.h"

#include <errno.h>
#include <string.h>

#include "base/sys.h"
#include "drain/decode_cri.h"
#include "drain/decode_docker.h"
#include "output/batch.h"

static const char *const format_names[] = {
	[DECODE_AUTO] = "auto",
	[DECODE_CRI] = "cri",
	[DECODE_DOCKER] = "docker",
	[DECODE_RAW] = "raw",
};

enum decode_format decode_detect(const char *line, size_t len)
{
	struct decoded d;

	if (decode_cri(line, len, &d))
		return DECODE_CRI;
	return docker_detect(line, len) ? DECODE_DOCKER : DECODE_RAW;
}

void decode_line(enum decode_format format, char *line, size_t len, bool cut, struct decoded *ret)
{
	if (format == DECODE_CRI && decode_cri(line, len, ret))
		return;
	if (format == DECODE_DOCKER && decode_docker(line, len, cut, ret))
		return;
	*ret = (struct decoded){
		.text = line,
		.text_len = (uint32_t)len,
		.stream = STREAM_NONE,
		.malformed = format != DECODE_RAW,
	};
}

const char *decode_format_name(enum decode_format format)
{
	return format_names[format];
}

int decode_format_parse(const char *name, enum decode_format *ret_format)
{
	for (size_t i = 0; i < ARRAY_SIZE(format_names); i++)
		if (strcmp(name, format_names[i]) == 0) {
			*ret_format = (enum decode_format)i;
			return 0;
		}
	return -EINVAL;
}
