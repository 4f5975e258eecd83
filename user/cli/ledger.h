/* SPDX-License-Identifier: Apache-2.0 */
/* `hotdrain ledger`: asks the running daemon what became of every byte, and prints it. */
#ifndef CLI_LEDGER_H
#define CLI_LEDGER_H

/* argv[0] is the subcommand's name. The exit status: 0; 1 when something was lost; 2 after one line
 * on standard error when there is nothing to print: wrong arguments, no directory, no daemon. Waits
 * for the daemon half a minute at most. */
int ledger_main(int argc, char **argv);

#endif
