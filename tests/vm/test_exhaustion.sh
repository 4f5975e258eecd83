#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# lane: heavy
# Limits that belong to a whole machine (inotify watches and queue), with the rungs that the machine
# this runs on may refuse, and inodes that ext4 hands on, on Debian's 6.1 and 6.12 kernels.
. "$(dirname "$0")/vm.sh"
title="is exhausted in a virtual machine"

exhausts() {
	# shellcheck disable=SC2086
	if ! vm_initramfs "$work/initramfs" $paths tests/vm/exhaust 2>/dev/null || ! vm_disks; then
		not_ok "$version: initramfs" "cpio or mkfs failed"
		return
	fi
	case $version in # a minute for each: the two share them
	6.1.*) rung=fs ;;
	*) rung=off ;;
	esac
	start=$(date +%s)
	vm_boot "$work/initramfs" PROGRAMS=exhaust "EXHAUST_RUNGS=$rung" ||
		not_ok "$version: shuts down" "no end of init within the time"
	vm_tap "$version"
	echo "# $version: $(($(date +%s) - start)) s"
}

if ! vm_need; then
	skipped "$title" "$why"
	echo "1..$n"
	exit 0
fi
paths="$B/hotdrain $B/tests/bench/load $B/tests/e2e/judge"
for p in $paths; do
	[ -x "$p" ] || make -s B="$B" "$p" >&2 || { not_ok "$title" "$p does not build"; exit 1; }
done
vm_kernels "$title" exhausts
echo "1..$n"
exit $bad
