#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# lane: heavy
# The whole collector under a rotation storm on Debian's 6.1 and 6.12 kernels, on the rungs that the
# machine this runs on may refuse, on tmpfs, ext4, xfs, btrfs and overlays; then top, counting by itself.
. "$(dirname "$0")/vm.sh"
title="collects in a virtual machine"

collects() {
	# shellcheck disable=SC2086
	if ! vm_initramfs "$work/initramfs" $paths tests/vm/collect tests/vm/monitor 2>/dev/null || ! vm_disks; then
		not_ok "$version: initramfs" "cpio or mkfs failed"
		return
	fi
	start=$(date +%s)
	vm_boot "$work/initramfs" PROGRAMS=collect,monitor COLLECT_RUNGS=fs:vfs:kprobe:off TOP_RUNGS=fs "COLLECT_WARM=${SAN:-}" ||
		not_ok "$version: shuts down" "no end of init within the time"
	vm_tap "$version"
	echo "# $version: $(($(date +%s) - start)) s"
}

if ! vm_need; then
	skipped "$title" "$why"
	echo "1..$n"
	exit 0
fi
paths="$B/hotdrain $B/tests/bench/load $B/tests/e2e/judge $B/tests/e2e/fill"
for p in $paths; do
	[ -x "$p" ] || make -s B="$B" "$p" >&2 || { not_ok "$title" "$p does not build"; exit 1; }
done
vm_kernels "$title" collects
echo "1..$n"
exit $bad
