/* SPDX-License-Identifier: Apache-2.0 */
/* `hotdrain doctor`: prints what this kernel and these privileges allow. */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

/* argv[0] is the subcommand's name. The exit status: 0, or 2 after one line on standard error when
 * the arguments are wrong. Attaches and detaches every rung once; writes nothing anywhere else. */
int doctor_main(int argc, char **argv);

#endif
