#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# lane: heavy
# The ledger to the byte on rung fs of Debian's 6.1 and 6.12 kernels: writers racing with truncations, a blocked sink,
# files rotated away while hotdrain was stopped, mapped memory; with full preemption and under lockdown as well.
. "$(dirname "$0")/vm.sh"
title="proves the ledger in a virtual machine"

# boot LABEL PARTS PARAMS..
boot() {
	label=$1 parts=$2
	shift 2
	vm_disks || { not_ok "$label: disks" "mkfs failed"; return; }
	start=$(date +%s)
	vm_boot "$work/initramfs" PROGRAMS="ledger:$parts" "$@" ||
		not_ok "$label: shuts down" "no end of init within the time"
	vm_tap "$label"
	echo "# $label: $(($(date +%s) - start)) s"
}

proves() {
	# shellcheck disable=SC2086
	if ! vm_initramfs "$work/initramfs" $paths tests/vm/ledger 2>/dev/null; then
		not_ok "$version: initramfs" "cpio failed"
		return
	fi
	boot "$version" "${LEDGER_PARTS:-cut10:ways:pinned}"
	boot "$version preempt=full" cut4:storm preempt=full
	boot "$version lockdown" nobtrfs:cut4 lockdown=confidentiality
}

if ! vm_need; then
	skipped "$title" "$why"
	echo "1..$n"
	exit 0
fi
paths="$B/hotdrain $B/tests/e2e/fill"
for p in $paths; do
	[ -x "$p" ] || make -s B="$B" "$p" >&2 || { not_ok "$title" "$p does not build"; exit 1; }
done
vm_kernels "$title" proves
echo "1..$n"
exit $bad
