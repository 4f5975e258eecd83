/* SPDX-License-Identifier: Apache-2.0 */
#include "base/dl_curl.h"

#include <errno.h>
#include <pthread.h>

#include "base/dl.h"
#include "base/sys.h"

#define LIBRARY "libcurl-gnutls.so.4"

#define DEFINE(name) __typeof__(curl_##name) *dl_##name;
DL_CURL(DEFINE)

static int loaded;

static void load(void)
{
#define SYMBOL(name) {"curl_" #name, (void **)&dl_##name},
	static const struct dl_symbol symbols[] = {DL_CURL(SYMBOL)};

	loaded = dl_load(LIBRARY, symbols, ARRAY_SIZE(symbols));
	if (loaded == 0 && dl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		loaded = -ENOMEM;
}

int dl_curl_load(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, load);
	return loaded;
}
