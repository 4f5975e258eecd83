#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# lane: heavy
# Calls, bytes, sizes and truncations on real kernels: the unit tests of heat/ that need one, on
# Debian's 6.1 and 6.12, on tmpfs, ext4, xfs, btrfs and overlays, where each rung named must attach.
. "$(dirname "$0")/vm.sh"
title="counts in a virtual machine"
programs="test_warm_reads test_write_count test_write_slots test_write_calls test_write_identity
	test_write_truncate test_write_caps"

# boot LABEL PROGRAMS PARAMS..
boot() {
	label=$1 run=$2
	shift 2
	vm_disks || { not_ok "$label: disks" "mkfs failed"; return; }
	start=$(date +%s)
	vm_boot "$work/initramfs" PROGRAMS="$run" "$@" ||
		not_ok "$label: shuts down" "no end of init within the time"
	vm_tap "$label"
	echo "# $label: $(($(date +%s) - start)) s"
}

count() {
	# shellcheck disable=SC2086
	vm_initramfs "$work/initramfs" $paths || { not_ok "$version: initramfs" "cpio"; return; }
	all=$(echo $programs | tr ' ' ,)
	boot "$version" "$all,write_cost:/mnt/tmpfs:3000:1" WRITE_COUNT_RUNGS=fs,vfs,kprobe,syscall
	# Programs may be left out when one preempts another: counted, and not more than said.
	boot "$version preempt=full" test_write_count,test_write_truncate preempt=full \
		WRITE_COUNT_RUNGS=fs,vfs,kprobe,syscall WRITE_COUNT_LOSSY=1
	# No reading of kernel memory by helper: only the direct loads of fexit are let in, and the
	# other rungs say so.
	boot "$version lockdown" test_write_slots,test_write_calls lockdown=confidentiality \
		WRITE_COUNT_RUNGS=fs,vfs
}

if ! vm_need; then
	skipped "$title" "$why"
	echo "1..$n"
	exit 0
fi
paths=
for p in $programs; do
	paths="$paths $B/tests/unit/heat/$p"
done
paths="$paths $B/tests/bench/write_cost"
for p in $paths; do
	[ -x "$p" ] || make -s B="$B" "$p" >&2 || { not_ok "$title" "$p does not build"; exit 1; }
done
vm_kernels "$title" count
echo "1..$n"
exit $bad
