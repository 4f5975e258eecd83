/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_UNPIN_H
#define CLI_UNPIN_H

/* hotdrain unpin DIR: counters that were left to go on counting end. The exit status. */
int unpin_main(int argc, char **argv);

#endif
