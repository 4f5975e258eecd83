#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# writer.sh DIR [SECONDS]: pods that log below DIR as containerd writes: three quiet ones, a line
# each second, and a noisy one, whose log is rotated as the kubelet does it. For compose.yaml.
set -eu
top=$1
turns=${2:-0}
limit=$((2 << 20))
keep=4
quiet="shop_web-0_8d1c6f0e-0001-4000-8000-000000000001/nginx
shop_cart-0_8d1c6f0e-0002-4000-8000-000000000002/cart
kube-system_dns-0_8d1c6f0e-0003-4000-8000-000000000003/coredns"
noisy=$top/shop_loadgen-0_8d1c6f0e-0004-4000-8000-000000000004/loadgen
filler=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx

now() {
	date -u +%Y-%m-%dT%H:%M:%S.%NZ
}

# Removes the oldest, compresses the one before, renames; who opens 0.log next makes a new one.
rotate() (
	cd "$1"
	set -- 0.log.*
	while [ $# -ge $keep ]; do
		rm -f "$1"
		shift
	done
	for name in "$@"; do
		case $name in
		*.gz | *.tmp | *'*') continue ;;
		esac
		gzip -1 <"$name" >"$name.tmp"
		mv "$name.tmp" "$name.gz"
		rm -f "$name"
	done
	mv 0.log "0.log.$(date -u +%Y%m%d-%H%M%S)"
)

burst() {
	t=$(now)
	i=0
	while [ $i -lt 4000 ]; do
		echo "$t stdout F request $((n += 1)) retried $filler"
		i=$((i + 1))
	done
}

for dir in $quiet; do
	mkdir -p "$top/$dir"
done
mkdir -p "$noisy"
n=0
turn=0
while [ "$turns" = 0 ] || [ $turn -lt "$turns" ]; do
	turn=$((turn + 1))
	for dir in $quiet; do
		echo "$(now) stdout F line $turn of ${dir##*/}" >>"$top/$dir/0.log"
	done
	burst >>"$noisy/0.log"
	[ "$(stat -c %s "$noisy/0.log")" -lt $limit ] || rotate "$noisy"
	sleep 1
done
