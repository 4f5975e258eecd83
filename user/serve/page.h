/* SPDX-License-Identifier: Apache-2.0 */
/* The status page, page.html as it is. */
#ifndef SERVE_PAGE_H
#define SERVE_PAGE_H

extern const char page_html[], page_html_end[];

#endif
