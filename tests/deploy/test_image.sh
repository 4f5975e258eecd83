#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# lane: engine
# The real Dockerfile, built on a bare Debian and run beside a container that writes, as
# compose.yaml does it. The base is made with debootstrap from this machine's Debian mirror,
# since a registry need not be within reach, and kept in $B/image; all else is private to this run.
# A minute or two.
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
cache=$B/image
n=0
bad=0

ok() {
	n=$((n + 1))
	echo "ok $n - $1"
}

# not_ok NAME: standard input says why.
not_ok() {
	n=$((n + 1)) bad=1
	echo "not ok $n - $1"
	tail -n 25 | sed 's/^/# /'
}

skip_all() {
	echo "ok 1 - image_is_built_and_run # SKIP $1"
	exit 0
}

[ -z "${SAN:-}" ] || skip_all "the image has no sanitizer; run without SAN"
[ "$(id -u)" = 0 ] || skip_all "not root"
for tool in podman runc debootstrap; do
	command -v $tool >/dev/null || skip_all "no $tool"
done

mkdir -p "$cache"
work=$(mktemp -d "$(realpath "$cache")/run.XXXXXX") || exit 1
end() {
	podman rm -af -t 0 >/dev/null 2>&1
	podman volume rm -af >/dev/null 2>&1
	podman rmi -af >/dev/null 2>&1
	umount "$work"/root/overlay "$work"/root/vfs 2>/dev/null
	rm -rf "$work"
}
trap end EXIT
trap 'exit 1' INT TERM

# Its own storage and settings: nothing of this machine's podman is touched.
export CONTAINERS_CONF="$work/containers.conf" CONTAINERS_STORAGE_CONF="$work/storage.conf"
cat >"$CONTAINERS_CONF" <<EOF
[containers]
log_driver = "k8s-file"
netns = "host"
default_ulimits = []
volumes = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
volume_path = "$work/volumes"
EOF
storage() {
	cat >"$CONTAINERS_STORAGE_CONF" <<-EOF
		[storage]
		driver = "$1"
		graphroot = "$work/root"
		runroot = "$work/run"
	EOF
	podman info >"$work/said" 2>&1
}
# overlay does not go on top of another overlay.
storage overlay || { rm -rf "$work/root" "$work/run" && storage vfs; } ||
	skip_all "podman does not start: $(tail -n 1 "$work/said")"

mirror() {
	apt-cache policy 2>/dev/null | grep -oE 'https?://[^ ]+/debian/? ' | head -n 1
}

if [ ! -s "$cache/base.tar" ]; then
	# shellcheck disable=SC2046
	timeout 300 debootstrap --variant=minbase bookworm "$work/base" $(mirror) >"$work/said" 2>&1 ||
		skip_all "no base image: $(tail -n 1 "$work/said")"
	tar -C "$work/base" --exclude='./dev/*' --exclude='./var/cache/apt/archives/*.deb' -cf \
		"$cache/base.tar.tmp" . && mv "$cache/base.tar.tmp" "$cache/base.tar"
	rm -rf "$work/base"
fi
podman import "$cache/base.tar" localhost/debian:12-slim >"$work/said" 2>&1 ||
	skip_all "podman cannot import: $(tail -n 1 "$work/said")"

if ! timeout 450 podman build --network=host --build-arg BASE=localhost/debian:12-slim \
	-f deploy/Dockerfile -t localhost/hotdrain . >"$work/said" 2>&1; then
	not_ok image_is_built <"$work/said"
	exit 1
fi
ok image_is_built

timeout 60 podman run --rm localhost/hotdrain --version >"$work/said" 2>&1
if grep -qx "hotdrain [0-9.]*" "$work/said"; then
	ok image_runs
else
	not_ok image_runs <"$work/said"
fi

# Three quiet pods, a line a second each, and 4000 lines a second of a noisy one, for 3 seconds.
podman volume create logs >/dev/null
podman run -d --name monitoring --privileged --read-only -v logs:/var/log/pods:ro \
	localhost/hotdrain >"$work/said" 2>&1
timeout 120 podman run --rm --name writer -v logs:/var/log/pods \
	-v "$PWD/deploy/writer.sh:/writer.sh:ro" --entrypoint /bin/sh localhost/hotdrain \
	/writer.sh /var/log/pods 3 >>"$work/said" 2>&1
tries=0
while [ $tries -lt 60 ]; do
	podman logs monitoring >"$work/out" 2>"$work/err"
	[ "$(grep -c '"message":"request ' "$work/out")" -ge 12000 ] &&
		[ "$(grep -c '"message":"line ' "$work/out")" -ge 9 ] && break
	tries=$((tries + 1))
	sleep 0.5
done
noisy=$(grep -o '"message":"request [0-9]*' "$work/out" | sort -u | wc -l)
lines=$(grep -c '"message":' "$work/out")
if [ "$noisy" = 12000 ] && [ "$lines" = 12009 ]; then
	ok container_delivers_what_another_writes_once
else
	{
		cat "$work/said" "$work/err"
		echo "$lines lines, of which $noisy of 12000 different noisy ones"
	} | not_ok container_delivers_what_another_writes_once
fi

podman stop -t 20 monitoring >"$work/said" 2>&1
status=$(podman inspect -f '{{.State.ExitCode}}' monitoring)
podman logs monitoring >/dev/null 2>"$work/err"
if [ "$status" = 0 ] && tail -n 1 "$work/err" | grep -q '12009 lines'; then
	ok container_stops_well_and_says_what_it_did
else
	{
		cat "$work/said" "$work/err"
		echo "status $status"
	} | not_ok container_stops_well_and_says_what_it_did
fi
exit $bad
