/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/http_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/sys.h"
#include "base/units.h"

#define WAITING 32 /* clients that are not yet accepted */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* host as it stands before the last colon, brackets included. */
static bool host_parse(const char *host, union address *ret_address)
{
	union address a = {0};
	size_t len = strlen(host);
	char inside[INET6_ADDRSTRLEN];

	if (!len || !strcmp(host, "localhost"))
		host = "127.0.0.1";
	a.v4.sin_family = AF_INET;
	if (inet_pton(AF_INET, host, &a.v4.sin_addr) != 1) {
		if (len < 2 || host[0] != '[' || host[len - 1] != ']' || len - 2 >= sizeof(inside))
			return false;
		memcpy(inside, host + 1, len - 2);
		inside[len - 2] = '\0';
		a = (union address){.v6.sin6_family = AF_INET6};
		if (inet_pton(AF_INET6, inside, &a.v6.sin6_addr) != 1)
			return false;
	}
	*ret_address = a;
	return true;
}

static bool address_parse(const char *text, union address *ret_address)
{
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2];
	uint64_t port;

	if (!colon || (size_t)(colon - text) >= sizeof(host) || count_parse(colon + 1, &port) < 0 ||
	    port > UINT16_MAX)
		return false;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';
	if (!host_parse(host, ret_address))
		return false;
	if (ret_address->any.sa_family == AF_INET)
		ret_address->v4.sin_port = htons((uint16_t)port);
	else
		ret_address->v6.sin6_port = htons((uint16_t)port);
	return true;
}

static socklen_t address_size(const union address *a)
{
	return a->any.sa_family == AF_INET ? sizeof(a->v4) : sizeof(a->v6);
}

static bool is_loopback(const union address *a)
{
	if (a->any.sa_family == AF_INET)
		return ntohl(a->v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
}

static int listen_on(const union address *a, int *ret_fd)
{
	_cleanup_fd_ int fd =
		socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int yes = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0 ||
	    bind(fd, &a->any, address_size(a)) < 0 || listen(fd, WAITING) < 0)
		return -errno;
	*ret_fd = take_fd(fd);
	return 0;
}

static void say_where(int fd)
{
	char host[INET6_ADDRSTRLEN] = "";
	union address a = {0};
	socklen_t size = sizeof(a);
	bool v4;

	if (getsockname(fd, &a.any, &size) < 0)
		return;
	v4 = a.any.sa_family == AF_INET;
	inet_ntop(a.any.sa_family, v4 ? (void *)&a.v4.sin_addr : (void *)&a.v6.sin6_addr, host,
		  sizeof(host));
	log_info("metrics and status page on http://%s%s%s:%u/%s", v4 ? "" : "[", host,
		 v4 ? "" : "]", ntohs(v4 ? a.v4.sin_port : a.v6.sin6_port),
		 is_loopback(&a) ? "" : ", for whoever can reach it");
}

int http_listen(const char *address, int *ret_fd)
{
	union address a;
	int r, fd = -1;

	if (!address_parse(address, &a))
		return log_err(-EINVAL,
			       "--metrics: expected an address and port such as 127.0.0.1:2112, "
			       "[::1]:2112 or :2112, got '%s'",
			       address);
	r = listen_on(&a, &fd);
	if (r < 0)
		return log_err(r, "--metrics: expected an address to listen on, got '%s': %s",
			       address, strerror(-r));
	say_where(fd);
	*ret_fd = fd;
	return 0;
}
