/* SPDX-License-Identifier: Apache-2.0 */
#include "base/dl.h"

#include <dlfcn.h>
#include <errno.h>

#include "base/log.h"

int dl_load(const char *soname, const struct dl_symbol *symbols, size_t n)
{
	void *lib = dlopen(soname, RTLD_NOW | RTLD_NODELETE);

	if (!lib)
		return log_err(-ENOENT, "cannot load a library: %s", dlerror());
	for (size_t i = 0; i < n; i++) {
		*symbols[i].address = dlsym(lib, symbols[i].name);
		if (!*symbols[i].address)
			return log_err(-ENOENT, "%s: it has no %s", soname, symbols[i].name);
	}
	return 0;
}
