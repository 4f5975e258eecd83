/* SPDX-License-Identifier: Apache-2.0 */
/* The assembler takes the file in; the path is from the top of the tree, where make runs. */
#include "serve/page.h"

__asm__(".pushsection .rodata.page_html, \"a\"\n"
	".globl page_html, page_html_len\n"
	".balign 8\n"
	"page_html_len:\n"
	".8byte page_html_end - page_html\n"
	"page_html:\n"
	".incbin \"user/serve/page.html\"\n"
	"page_html_end:\n"
	".popsection\n");
