#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Calls, bytes and sizes on real kernels: the unit tests of heat/write_count on Debian's 6.1 and
# 6.12, on tmpfs, ext4 and xfs, where each rung named must attach.
. "$(dirname "$0")/vm.sh"
title="counts in a virtual machine"
programs="test_write_count test_write_slots"

# boot LABEL PARAMS..
boot() {
	label=$1
	shift
	vm_disks || { not_ok "$label: disks" "mkfs failed"; return; }
	start=$(date +%s)
	vm_boot "$work/initramfs" PROGRAMS="$(echo "$programs" | tr ' ' ,)" "$@" ||
		not_ok "$label: shuts down" "no end of init within the time"
	vm_tap "$label"
	echo "# $label: $(($(date +%s) - start)) s"
}

if ! vm_need; then
	skipped "$title" "$why"
	echo "1..$n"
	exit 0
fi
set --
for p in $programs; do
	[ -x "$B/tests/unit/heat/$p" ] || make -s B="$B" "$B/tests/unit/heat/$p" >&2 ||
		{ not_ok "$title" "$p does not build"; exit 1; }
	set -- "$@" "$B/tests/unit/heat/$p"
done
for meta in linux-image-cloud-amd64 linux-image-6.12-cloud-amd64; do
	if ! vm_kernel "$meta"; then
		skipped "$title: $meta" "$why"
		continue
	fi
	version=$(basename "$vmlinuz" | sed 's/vmlinuz-//')
	vm_initramfs "$work/initramfs" "$@" || { not_ok "$version: initramfs" "cpio"; continue; }
	boot "$version" WRITE_COUNT_RUNGS=vfs,kprobe,syscall
	# Programs may be left out when one preempts another: counted, and not more than said.
	boot "$version preempt=full" preempt=full WRITE_COUNT_RUNGS=vfs,kprobe,syscall \
		WRITE_COUNT_LOSSY=1
	# No reading of kernel memory by helper: only the direct loads of fexit are let in, and the
	# other rungs say so.
	boot "$version lockdown" lockdown=confidentiality WRITE_COUNT_RUNGS=vfs
done
echo "1..$n"
exit $bad
