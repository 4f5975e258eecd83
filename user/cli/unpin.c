/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/unpin.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "heat/write_pins.h"

#define EXIT_USER 2

static const char *words(int r)
{
	switch (-r) {
	case EBUSY:
		return "in use by a running hotdrain, stop it first";
	case EMEDIUMTYPE:
		return "expected a directory of a BPF filesystem";
	default:
		return strerror(-r);
	}
}

int unpin_main(int argc, char **argv)
{
	const char *dir = argc == 2 ? argv[1] : NULL;
	struct write_pins *pins = NULL;
	struct stat st;
	int r;

	if (dir && (strcmp(dir, "--help") == 0 || strcmp(dir, "-h") == 0)) {
		puts("usage: hotdrain unpin DIR\n\n"
		     "Removes the counters that `hotdrain run --bpf-pin DIR` left counting.");
		return 0;
	}
	if (!dir || dir[0] == '-') {
		log_err(0, "unpin: expected one directory, that of --bpf-pin%s%s",
			dir ? ", got " : "", dir ? dir : "");
		return EXIT_USER;
	}
	r = stat(dir, &st) < 0 ? -errno : write_pins_open(dir, &pins); /* which would make it */
	if (r < 0) {
		log_err(0, "unpin: %s: %s", dir, words(r));
		return EXIT_USER;
	}
	r = write_pins_clear(pins);
	write_pins_close(pins);
	if (r < 0) {
		log_err(0, "unpin: %s: %s", dir, strerror(-r));
		return 1;
	}
	rmdir(dir); /* unless somebody else has something there */
	printf("%d maps, programs and links removed\n", r);
	return 0;
}
