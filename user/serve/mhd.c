/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/mhd.h"

#include "base/dl.h"
#include "base/sys.h"

struct mhd mhd;

int mhd_load(void)
{
	const struct dl_symbol symbols[] = {
		{"MHD_start_daemon", (void **)&mhd.start_daemon},
		{"MHD_stop_daemon", (void **)&mhd.stop_daemon},
		{"MHD_run", (void **)&mhd.run},
		{"MHD_get_timeout", (void **)&mhd.get_timeout},
		{"MHD_get_daemon_info", (void **)&mhd.get_daemon_info},
		{"MHD_get_connection_info", (void **)&mhd.get_connection_info},
		{"MHD_suspend_connection", (void **)&mhd.suspend_connection},
		{"MHD_resume_connection", (void **)&mhd.resume_connection},
		{"MHD_lookup_connection_value", (void **)&mhd.lookup_connection_value},
		{"MHD_create_response_from_buffer", (void **)&mhd.create_response_from_buffer},
		{"MHD_create_response_from_callback", (void **)&mhd.create_response_from_callback},
		{"MHD_set_response_options", (void **)&mhd.set_response_options},
		{"MHD_add_response_header", (void **)&mhd.add_response_header},
		{"MHD_queue_response", (void **)&mhd.queue_response},
		{"MHD_destroy_response", (void **)&mhd.destroy_response},
	};

	if (mhd.destroy_response) /* the last: all are there, and in use perhaps */
		return 0;
	return dl_load("libmicrohttpd.so.12", symbols, ARRAY_SIZE(symbols));
}
