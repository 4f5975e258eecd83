#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# lane: heavy
# vmlinux.h serves both architectures; vmlinux/check finds every field of it in the kernels' BTF,
# and a wrong one is found out.
. "$(dirname "$0")/vm.sh"

# The kernel's BTF, brought out of a virtual machine once, in $kernel/btf.
kernel_btf() {
	[ -s "$kernel/btf" ] && return 0
	vm_initramfs "$work/initramfs" && vm_disks && vm_boot "$work/initramfs" BTF=1 || return 1
	size=$(awk '/^BTF/ { print $2 }' "$work/console")
	head -c "$size" "$work/out.img" >"$kernel/btf"
}

check() {
	if out=$(vmlinux/check "$2" 2>&1); then
		ok "vmlinux.h fits $1"
	elif [ $? -eq 2 ]; then
		skipped "vmlinux.h fits $1" "$out"
	else
		not_ok "vmlinux.h fits $1" "$out"
	fi
}

# A header that asks for a field no kernel has, and for one with another type.
check_finds_faults() {
	cp vmlinux/check "$work/check"
	sed 's/loff_t i_size;/int i_size;/; s/s_dev;/s_devil;/' vmlinux/vmlinux.h >"$work/vmlinux.h"
	out=$("$work/check" "$1" 2>&1)
	if [ $? -eq 1 ] && echo "$out" | grep -q "missing: struct super_block.s_devil" &&
		echo "$out" | grep -q "differs: struct inode.i_size"; then
		ok "a missing field and a wrong type are found"
	else
		not_ok "a missing field and a wrong type are found" "$out"
	fi
}

compiles() {
	for program in bpf/*.bpf.c; do
		if out=$("${CLANG:-clang}" -target bpf -O2 -g -Wall -Werror -mcpu=v3 "-D__TARGET_ARCH_$1" \
			-Ibpf -Ivmlinux -c -o "$work/$1.o" "$program" 2>&1); then
			ok "$program compiles for $1"
		else
			not_ok "$program compiles for $1" "$out"
		fi
	done
}

compiles x86
compiles arm64
check "this kernel" /sys/kernel/btf/vmlinux
if ! vm_need; then
	skipped "vmlinux.h fits Debian's kernels" "$why"
	echo "1..$n"
	exit $bad
fi
for meta in linux-image-cloud-amd64 linux-image-6.12-cloud-amd64; do
	if ! vm_kernel "$meta"; then
		skipped "vmlinux.h fits $meta" "$why"
	elif ! kernel_btf; then
		not_ok "vmlinux.h fits $meta" "no BTF out of the virtual machine"
	else
		check "$(basename "$vmlinuz")" "$kernel/btf"
		check_finds_faults "$kernel/btf"
	fi
done
echo "1..$n"
exit $bad
