// SPDX-License-Identifier: Apache-2.0
/*
 * change SEED COUNT ROOT OUTSIDE: changes the tree at random until COUNT changes have succeeded,
 * and prints how many it tried. Few names at few depths, so that each change meets what has just
 * happened; one path in ten lies outside. For the tests that follow a tree by its events.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES 5
#define DEPTH 4

static unsigned long long state;

static unsigned chance(unsigned n)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(state >> 33) % n;
}

static void path_choose(char *out, size_t size, const char *root, const char *outside)
{
	int n = snprintf(out, size, "%s", chance(10) ? root : outside);

	for (unsigned depth = 1 + chance(DEPTH); depth && (size_t)n + 3 < size; depth--)
		n += snprintf(out + n, size - (size_t)n, "/%c", 'a' + (int)chance(NAMES));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	remove(path);
	return 0;
}

static int file_write(const char *path, int flags)
{
	int fd = open(path, flags | O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	int r = fd < 0 || ((flags & O_APPEND) && write(fd, "x", 1) != 1) ? -1 : 0;

	if (fd >= 0)
		close(fd);
	return r;
}

static int change(const char *a, const char *b)
{
	unsigned what = chance(100);

	if (what < 22)
		return mkdir(a, 0755);
	if (what < 38)
		return file_write(a, O_EXCL);
	if (what < 50)
		return file_write(a, O_APPEND);
	if (what < 76)
		return rename(a, b);
	if (what < 79)
		return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
	if (what < 81)
		return link(a, b);
	if (what < 83)
		return symlink(b, a);
	if (what < 94)
		return unlink(a);
	if (what < 98)
		return rmdir(a);
	return nftw(a, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv)
{
	unsigned long done = 0, tried = 0;
	char a[1024], b[1024];

	if (argc != 5) {
		fprintf(stderr, "usage: change SEED COUNT ROOT OUTSIDE\n");
		return 2;
	}
	state = strtoull(argv[1], NULL, 10) * 2654435761u + 1;
	while (done < strtoul(argv[2], NULL, 10)) {
		path_choose(a, sizeof(a), argv[3], argv[4]);
		path_choose(b, sizeof(b), argv[3], argv[4]);
		done += change(a, b) == 0;
		tried++;
	}
	printf("%lu\n", tried);
	return 0;
}
