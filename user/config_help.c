/* SPDX-License-Identifier: Apache-2.0 */
#include "config_help.h"

#include <stdio.h>
#include <string.h>

#include "config_table.h"

#define HELP_COLUMN 32
#define HELP_WIDTH  98

static void text_wrap(const char *text, int column)
{
	while (*text) {
		int n = (int)strcspn(text, " ");

		if (column + 1 + n > HELP_WIDTH && column > HELP_COLUMN) {
			printf("\n%*s", HELP_COLUMN, "");
			column = HELP_COLUMN;
		} else if (column > HELP_COLUMN) {
			column += printf(" ");
		}
		column += printf("%.*s", n, text);
		text += n;
		text += *text == ' ';
	}
	printf("\n");
}

static void option_print(const struct option *o)
{
	char head[128], flag[64], text[512];
	const char *value = "";
	size_t n;

	if (option_takes_value(o))
		value = o->words ? o->words : o->kind->metavar;
	snprintf(head, sizeof(head), "  %c%c%s %s%s%s", o->flag ? '-' : ' ',
		 o->flag ? o->flag : ' ', o->flag ? "," : " ", option_flag(o, flag, sizeof(flag)),
		 value[0] ? " " : "", value);
	n = (size_t)snprintf(text, sizeof(text), "%s", o->help);
	if (o->initial)
		n += (size_t)snprintf(text + n, sizeof(text) - n, " (default: %s", o->initial);
	if (o->max)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "; %s to %s", o->min, o->max);
	if (o->initial)
		snprintf(text + n, sizeof(text) - n, ")");
	if (printf("%-*s", HELP_COLUMN, head) > HELP_COLUMN)
		printf("\n%*s", HELP_COLUMN, "");
	text_wrap(text, HELP_COLUMN);
}

void config_help(const char *command)
{
	printf("Usage: hotdrain %s [OPTION]...\n"
	       "Follows every log file below the roots and delivers each line once, the file first "
	       "whose\n"
	       "unread bytes are in danger.\n\n",
	       command);
	for (size_t i = 0; i < config_options_n; i++)
		option_print(&config_options[i]);
	printf("\nDurations: 250us, 5ms, 2s, 1m, 1h, 0. Sizes: bytes, or 64Ki, 10Mi, 1Gi, 10k, "
	       "10M.\n"
	       "Each option is also a key of the YAML file, with underscores for dashes,\n"
	       "except");
	for (size_t i = 0, n = 0; i < config_options_n; i++)
		if (config_options[i].flag_only)
			printf("%s %s", n++ ? "," : "", config_options[i].key);
	printf(":\n\n"
	       "    root: [/var/log/pods]\n"
	       "    exit_when_idle: 2s\n\n"
	       "SIGTERM and SIGINT: deliver what was read and end. SIGUSR1: state to standard "
	       "error.\n");
}
