# SPDX-License-Identifier: Apache-2.0
# Boots Debian kernels in QEMU with an initramfs of busybox and a few dynamic programs. Sourced by
# the tests in this folder, which print TAP. Emulated (tcg) on purpose: /dev/kvm may be there and
# hang, and an emulator provokes races. Everything is kept under $B/vm, so that a kernel is
# downloaded once.
#
#   vm_need                     0, or 1 with the reason in $why
#   vm_kernel META              the kernel that this Debian meta package stands for, in $kernel
#   vm_initramfs FILE PROGRAM.. with the programs, their libraries and the modules of $kernel
#   vm_disks                    fresh ext4, xfs and btrfs images and an empty one for what comes out
#   vm_kernels TITLE FUNCTION   the function for each kernel, both at once, with $version
#   vm_boot INITRAMFS PARAMS..  runs init to its end, console in $work/console; 1 when it has not ended
#                               well. $label (else the kernel's name) says whose remarks they are
#
# shellcheck disable=SC2034  # why and bad are for the tests

cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
cache=$B/vm
work=$(mktemp -d "${TMPDIR:-/tmp}/hotdrain-vm.XXXXXX") || exit 1
trap 'vm_end; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
BOOT_MAX=60    # seconds until VM START
SILENT_MAX=120 # seconds without a word after it
END_MAX=400    # seconds for all of it
TRIES_MAX=3
qemu=
children=
modules="virtio_pci virtio_blk xfs btrfs overlay"
disks="ext4 xfs out btrfs" # /dev/vda and so on
# A processor that does not come to rest for 40 s ends the guest, with what each of them was at.
lockups="watchdog_thresh=20 softlockup_panic=1 panic_print=0x40"
n=0
bad=0

# ok NAME, not_ok NAME WHY, skipped NAME WHY
ok() {
	n=$((n + 1))
	echo "ok $n - $1"
}

not_ok() {
	n=$((n + 1)) bad=1
	echo "not ok $n - $1"
	echo "# $2"
}

skipped() {
	n=$((n + 1))
	echo "ok $n - $1 # SKIP $2"
}

vm_need() {
	[ "$(uname -m)" = x86_64 ] || { why="only x86-64 machines are emulated so far"; return 1; }
	[ -x /bin/busybox ] || { why="no /bin/busybox (busybox-static)"; return 1; }
	for tool in qemu-system-x86_64:qemu-system-x86 cpio:cpio dpkg-deb:dpkg xz:xz-utils \
		/sbin/modinfo:kmod /sbin/mkfs.xfs:xfsprogs /sbin/mke2fs:e2fsprogs \
		/sbin/mkfs.btrfs:btrfs-progs; do
		command -v "${tool%%:*}" >/dev/null || { why="no ${tool%%:*} (${tool#*:})"; return 1; }
	done
}

# Package names change with each update, so the meta package is asked. Offline: the last one used.
vm_kernel() {
	mkdir -p "$cache"
	name=$(apt-cache depends "$1" 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
	[ -n "$name" ] || name=$(cat "$cache/$1" 2>/dev/null)
	[ -n "$name" ] || { why="apt knows no package $1"; return 1; }
	kernel=$cache/$name
	if [ ! -d "$kernel" ]; then
		(cd "$work" && timeout 300 apt-get -q download "$name" >download.log 2>&1) ||
			{ why="cannot download $name: $(tail -n 1 "$work/download.log")"; return 1; }
		if ! dpkg-deb -x "$work/$name"_*.deb "$work/$name" || ! mv "$work/$name" "$kernel"; then
			why="cannot unpack $name"
			return 1
		fi
		rm -f "$work/$name"_*.deb
	fi
	echo "$name" >"$cache/$1"
	vmlinuz=$(echo "$kernel"/boot/vmlinuz-*)
}

# The cloud kernels come without modules.dep: prints what the module needs, then the module.
module_files() {
	for m in "$@"; do
		f=$(find "$kernel/lib/modules" \( -name "$m.ko*" -o -name "$(echo "$m" | tr _ -).ko*" \) |
			head -n 1)
		[ -n "$f" ] || continue # built in
		# shellcheck disable=SC2046
		(module_files $(/sbin/modinfo -F depends "$f" | tr , ' '))
		echo "$f"
	done
}

# One kernel's part of vm_kernels, in a subshell of its own.
vm_of() {
	work=$work/$2 children=''
	trap vm_end EXIT
	trap 'exit 2' INT TERM
	mkdir "$work"
	if vm_kernel "$2"; then
		version=$(basename "$vmlinuz" | sed 's/vmlinuz-//')
		"$3"
	else
		skipped "$1: $2" "$why"
	fi
	exit $bad
}

# What they print comes in order, at the end, numbered on.
vm_kernels() {
	set -- "$1" "$2" linux-image-cloud-amd64 linux-image-6.12-cloud-amd64
	for meta in "$3" "$4"; do
		(vm_of "$1" "$meta" "$2") >"$work/$meta.tap" &
		children="$children $!"
	done
	for child in $children; do
		wait "$child"
		case $? in
		0) ;;
		1) bad=1 ;;
		*) bad=1 && echo "not ok 0 - $1: ran to its end" >>"$work/$4.tap" ;;
		esac
	done
	children=
	cat "$work/$3.tap" "$work/$4.tap" >"$work/tap"
	awk -v n="$n" '/^(not )?ok / { sub(/ok [0-9]+/, "ok " ++n) } { print }' "$work/tap"
	n=$((n + $(grep -cE '^(not )?ok ' "$work/tap")))
}

vm_initramfs() {
	image=$1
	shift
	root=$work/root
	rm -rf "$root"
	mkdir -p "$root/bin" "$root/modules" "$root/proc" "$root/sys" "$root/dev" "$root/tmp" \
		"$root/run" "$root/mnt/ext4" "$root/mnt/xfs" "$root/mnt/tmpfs" "$root/mnt/btrfs"
	cp /bin/busybox "$root/bin/"
	cp tests/vm/init "$root/init"
	# shellcheck disable=SC2086
	module_files $modules | awk '!seen[$0]++' | while read -r f; do
		case $f in
		*.xz) xz -dc "$f" >"$root/modules/$(basename "$f" .xz)" ;;
		*) cp "$f" "$root/modules/" ;;
		esac
		basename "$f" .xz >>"$root/modules/order"
	done
	for program in "$@"; do
		cp "$program" "$root/bin/" || return 1
		ldd "$program" | awk '/\// { print $(NF - 1) }' | while read -r lib; do
			mkdir -p "$root$(dirname "$lib")" && cp -L "$lib" "$root$lib"
		done
	done
	(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$image"
}

vm_disks() {
	rm -f "$work"/*.img
	truncate -s 64M "$work/ext4.img" && truncate -s 320M "$work/xfs.img" &&
		truncate -s 256M "$work/btrfs.img" && truncate -s 16M "$work/out.img" &&
		/sbin/mke2fs -q -t ext4 -F "$work/ext4.img" && /sbin/mkfs.xfs -q -f "$work/xfs.img" &&
		/sbin/mkfs.btrfs -q -f "$work/btrfs.img" >/dev/null
}

# In the background and not below timeout(1), which would take it out of the test's process group.
vm_start() {
	initramfs=$1
	shift
	drives=
	for disk in $disks; do
		drives="$drives -drive file=$work/$disk.img,if=virtio,format=raw"
	done
	# shellcheck disable=SC2086
	qemu-system-x86_64 -accel tcg -cpu max -smp 2 -m 1024 -nographic -no-reboot \
		-nic none $drives -kernel "$vmlinuz" -initrd "$initramfs" \
		-append "console=ttyS0 oops=panic panic=-1 $lockups $*" </dev/null >"$work/serial" &
	qemu=$!
}

vm_end() {
	[ -z "$qemu" ] || { kill -KILL "$qemu" && wait "$qemu"; } 2>/dev/null
	# shellcheck disable=SC2086
	[ -z "$children" ] || { kill -TERM $children && wait $children; } 2>/dev/null
	qemu='' children=''
}

# Until the guest ends: 0 when init ran and it ended by itself, 1 when it was ended, with $why; 2 when
# it did not come as far as init, 3 when the emulator failed.
vm_watch() {
	booted_at=$(date +%s) heard=0
	while kill -0 "$qemu" 2>/dev/null; do
		sleep 0.2
		now=$(date +%s)
		size=$(wc -c <"$work/serial")
		[ "$size" -eq "$heard" ] || { heard=$size heard_at=$now; }
		started=$(grep -c "VM START" "$work/serial")
		if [ $((now - began)) -ge $END_MAX ]; then
			why="not at its end after $END_MAX s"
		elif [ "$started" -eq 0 ] && [ $((now - booted_at)) -ge $BOOT_MAX ]; then
			vm_end
			return 2
		elif [ "$started" -gt 0 ] && [ $((now - heard_at)) -ge $SILENT_MAX ]; then
			why="nothing printed for $SILENT_MAX s"
		else
			continue
		fi
		vm_end
		return 1
	done
	qemu=
	grep -q "VM START" "$work/serial" || return 2
	! vm_stale || return 3
}

# A breakpoint that is not there: "Oops: int3" or, on 6.1, a processor that returns for ever to
# the first byte of a function, where the memory has a call and the other processor is idle.
vm_stale() {
	awk '/Oops: int3/ { found = 1 }
		/soft lockup/ { locked = 1 }
		locked && /RIP: 0010:[a-z0-9_]+\+0x0\// { found = 1 }
		END { exit !found }' "$work/serial"
}

# One boot in some dozens crashes or hangs where the kernel patches its own code, at its start or when
# programs are attached: an emulated processor translates the breakpoint that stands there for a moment,
# and goes on with that after it is gone (QEMU 7.2). Only then is it tried again, on new disks. Without
# threads (-accel tcg,thread=single) that could not be, but nor would writers race. A guest that crashes
# or hangs in any other way has failed.
vm_boot() {
	tries=1
	remark="# ${label:-$(basename "$vmlinuz")}"
	while :; do
		began=$(date +%s)
		why="ended before VM DONE"
		vm_start "$@"
		vm_watch
		[ $? -ge 2 ] || break
		why="did not boot, or ran code that was not there, $tries times"
		[ $tries -lt $TRIES_MAX ] || break
		tries=$((tries + 1))
		echo "$remark: the guest did not boot, or ran code that was not there: tried again"
		vm_crash
		vm_disks || break
	done
	tr -d '\r\033' <"$work/serial" | awk 1 >"$work/console"
	grep -q '^VM DONE' "$work/console" && return 0
	echo "$remark: $why; the last lines of its console:"
	tail -n 12 "$work/console" | sed 's/^/# | /'
	vm_crash
	return 1
}

# The kernel's own words for it, without the registers, which have pushed them up.
vm_crash() {
	tr -d '\r' <"$work/serial" | awk '/Oops|BUG:|Kernel panic/ { on = 1 }
		on && /Oops|BUG:|panic|RIP: |CPU: |<TASK>|<.*IRQ>|\]  [a-z_]/ && n++ < 60 { print "# | " $0 }'
}

# What the guest printed as TAP, numbered on, each name with this prefix; its remarks as they are,
# the last one before a skip being the reason. A plan that was not reached is a failure.
vm_tap() {
	planned=$(awk -F. '/^TAP 1\.\./ { n += $3 } END { print n + 0 }' "$work/console")
	had=$n
	while IFS= read -r line; do
		case $line in
		"TAP not ok "*"# SKIP "*) skipped "$1: ${line#*# SKIP }" "$note" ;;
		"TAP not ok "*)
			n=$((n + 1)) bad=1
			echo "not ok $n - $1: ${line#*- }"
			;;
		"TAP ok "*) ok "$1: ${line#*- }" ;;
		"TAP # not ok "* | "TAP # ok "* | "TAP 1.."*) ;;
		"TAP "*)
			note=${line#TAP }
			note=${note#\# }
			echo "# $note"
			;;
		esac
	done <"$work/console"
	if [ "$planned" -eq 0 ] || [ $((n - had)) -ne "$planned" ]; then
		not_ok "$1: ran to its end" "$((n - had)) of $planned results"
		tail -n 20 "$work/console" | sed 's/^/# /'
	fi
}
