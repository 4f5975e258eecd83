/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HEAT_BPF_LOG_H
#define HEAT_BPF_LOG_H

/* libbpf's messages go to log_debug, line by line: what it calls a failure is a rung that is tried.
 */
void bpf_log_quietly(void);

#endif
