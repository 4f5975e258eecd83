/* SPDX-License-Identifier: Apache-2.0 */
/* The status page, page.html as it is. */
#ifndef SERVE_PAGE_H
#define SERVE_PAGE_H

#include <stdint.h>

extern const char page_html[];
extern const uint64_t page_html_len;

#endif
