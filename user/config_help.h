/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONFIG_HELP_H
#define CONFIG_HELP_H

/* Writes the help text, made from the table of options, to standard output. */
void config_help(const char *command);

#endif
