/* SPDX-License-Identifier: Apache-2.0 */
/* `hotdrain events`: what happens to files and containers, as one stream. */
#ifndef CLI_EVENTS_H
#define CLI_EVENTS_H

/* argv[0] is the subcommand's name. The exit status: 2 when the user is to blame, 1 when the system
 * is. */
int events_main(int argc, char **argv);

#endif
