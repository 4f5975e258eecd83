/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Libraries that only some settings need are loaded when they are: linked, libcurl and
 * libmicrohttpd with all they bring would be 6 MiB of every hotdrain, which has 14. Their headers
 * give the types:
 *
 *   static __typeof__(curl_easy_init) *dl_curl_easy_init;
 *   static const struct dl_symbol symbols[] = {{"curl_easy_init", (void **)&dl_curl_easy_init}};
 *   r = dl_load("libcurl-gnutls.so.4", symbols, ARRAY_SIZE(symbols));
 */
#ifndef BASE_DL_H
#define BASE_DL_H

#include <stddef.h>

struct dl_symbol {
	const char *name;
	void **address;
};

/* Loads it and fills in all addresses; never unloaded. Again: the same. 0; -ENOENT after one error
 * in the log that names the library, or the symbol that it lacks. */
int dl_load(const char *soname, const struct dl_symbol *symbols, size_t n);

#endif
