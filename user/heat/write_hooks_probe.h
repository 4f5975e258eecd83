/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel refuses in general, told without loading the real programs. */
#ifndef HEAT_WRITE_HOOKS_PROBE_H
#define HEAT_WRITE_HOOKS_PROBE_H

#include <stdbool.h>

/* 0, or -EPERM: no program of the kind that fentry and fexit need is let in, whatever it does. */
int write_hooks_probe_trampoline(void);
/* False: there is nothing to attach a kprobe with. */
bool write_hooks_probe_kprobe(void);

#endif
