/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy RATIO FILE..: reads them and writes RATIO times as many bytes to standard output, of
 * whatever stands in the buffer: a floor for what reads logs and writes records. (cat is none: it
 * has the kernel copy from file to file, once.)
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char buffer[262144];

static int die(const char *what)
{
	fprintf(stderr, "copy: %s: %s\n", what, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	double ratio = argc > 1 ? atof(argv[1]) : 0, due = 0;

	for (int i = 2; i < argc; i++) {
		int fd = open(argv[i], O_RDONLY);
		ssize_t n;

		if (fd < 0)
			return die(argv[i]);
		while ((n = read(fd, buffer, sizeof(buffer))) > 0) {
			due += (double)n * ratio;
			while (due >= 1) {
				size_t part = due < sizeof(buffer) ? (size_t)due : sizeof(buffer);

				n = write(STDOUT_FILENO, buffer, part);
				if (n < 0)
					return die("standard output");
				due -= (double)n;
			}
		}
		if (n < 0)
			return die(argv[i]);
		close(fd);
	}
	return 0;
}
