/* SPDX-License-Identifier: Apache-2.0 */
/* `hotdrain top`: the hottest logs, live. */
#ifndef CLI_TOP_H
#define CLI_TOP_H

/* argv[0] is the subcommand's name. The exit status: 0; 2 after one line on standard error: wrong
 * arguments, nobody to ask, no root, an answer or an output that fails. */
int top_main(int argc, char **argv);

#endif
