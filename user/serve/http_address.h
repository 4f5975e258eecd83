/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVE_HTTP_ADDRESS_H
#define SERVE_HTTP_ADDRESS_H

/* A socket that listens there, as http_new describes; says so in the log, or what is wrong. */
int http_listen(const char *address, int *ret_fd);

#endif
