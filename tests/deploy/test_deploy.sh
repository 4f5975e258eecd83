#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Each deployment file is parsed by the tool it is written for, and says what hotdrain needs. No
# server is asked.
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
hotdrain=$(realpath "$B/hotdrain")
work=$(mktemp -d "${TMPDIR:-/tmp}/hotdrain-deploy.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
n=0
bad=0

# check NAME COMMAND..: passes when it ends with 0; else shows what it wrote.
check() {
	name=$1 && shift
	n=$((n + 1))
	if "$@" >"$work/said" 2>&1; then
		echo "ok $n - $name"
	else
		bad=1
		echo "not ok $n - $name"
		tail -n 20 "$work/said" | sed 's/^/# /'
	fi
}

skipped() {
	n=$((n + 1))
	echo "ok $n - $1 # SKIP $2"
}

# need TOOL NAME..: 0, or each test skipped.
need() {
	tool=$1 && shift
	command -v "$tool" >/dev/null && return
	for name in "$@"; do
		skipped "$name" "no $tool"
	done
	return 1
}

kustomized() {
	kubectl kustomize deploy >"$work/all.yaml" &&
		awk -v RS='---\n' '/kind: DaemonSet/' "$work/all.yaml" >"$work/daemonset.yaml" &&
		[ -s "$work/daemonset.yaml" ]
}

image_is_set() {
	kubectl set image --local -f "$work/daemonset.yaml" hotdrain=example.org/hotdrain:9 -o yaml \
		>"$work/set.yaml" && grep -q 'image: example.org/hotdrain:9' "$work/set.yaml"
}

# has FILE PATTERN..: every one is there.
has() {
	file=$1 && shift
	for pattern in "$@"; do
		grep -qE -e "$pattern" "$file" || { echo "$file lacks $pattern" && return 1; }
	done
}

# With the line that kustomization.yaml has as a comment.
labels_component_asks_for_pods() {
	rm -rf "$work/deploy" && cp -r deploy "$work/deploy" &&
		sed -i 's/^# components: /components: /' "$work/deploy/kustomization.yaml" &&
		kubectl kustomize "$work/deploy" >"$work/labels.yaml" && has "$work/labels.yaml" \
		'kind: ClusterRoleBinding' 'automountServiceAccountToken: true' \
		'--kubernetes-pods-url=https://kubernetes.default.svc/api/v1/pods.fieldSelector=spec.nodeName=\$\(NODE_NAME\)' \
		'name: NODE_NAME' || return
	# Each flag is one that there is.
	sed -n 's/^ *- "*\(--kubernetes[a-z-]*\)=.*/\1/p' "$work/labels.yaml" >"$work/flags"
	[ "$(wc -l <"$work/flags")" = 3 ] || return
	while read -r flag; do
		"$hotdrain" run --help | grep -q -- "$flag" || { echo "$flag" && return 1; }
	done <"$work/flags"
}

settings_are_mounted_under_a_hashed_name() {
	sed -n 's/^ *name: \(hotdrain-config-[a-z0-9]*\)$/\1/p' "$work/all.yaml" | sort | uniq -c |
		grep -E '^ *2 hotdrain-config-'
}

# The probes and Prometheus ask where it listens.
metrics_port_is_one() {
	port=$(sed -n 's/.*--metrics", "0\.0\.0\.0:\([0-9]*\)".*/\1/p' deploy/daemonset.yaml)
	[ -n "$port" ] && has "$work/daemonset.yaml" "containerPort: $port\$" \
		"prometheus.io/port: \"$port\"" 'path: /healthz$' 'path: /readyz$' &&
		[ "$(grep -c 'port: metrics$' "$work/daemonset.yaml")" = 2 ]
}

# With every resource that kustomization.yaml has in a comment.
restricted() {
	cp -r deploy "$work/restricted" &&
		sed -i 's/^  # - /  - /' "$work/restricted/kustomization.yaml" &&
		kubectl kustomize "$work/restricted" >"$work/restricted.yaml" &&
		has "$work/restricted.yaml" 'kind: NetworkPolicy' 'port: metrics$'
}

# The unit as it would be installed, with a program that is there.
unit_is_valid() {
	sed "s|/usr/bin/hotdrain|$hotdrain|" deploy/hotdrain.service >"$work/hotdrain.service"
	systemd-analyze verify --man=no "$work/hotdrain.service" 2>"$work/unit.err"
	status=$?
	cat "$work/unit.err"
	[ $status = 0 ] && ! grep -i 'hotdrain' "$work/unit.err"
}

bad_unit_is_found() {
	sed "s|/usr/bin/hotdrain|$hotdrain|; s/ProtectClock=yes/ProtectClok=yes/" \
		deploy/hotdrain.service >"$work/hotdrain.service"
	systemd-analyze verify --man=no "$work/hotdrain.service" 2>&1 | grep -q ProtectClok
}

compose_is_valid() {
	docker-compose -f deploy/compose.yaml config >"$work/compose" || return
	[ "$(docker-compose -f deploy/compose.yaml --profile inspect config --services | sort |
		tr '\n' ' ')" = "inspect monitoring writer " ] || return
	grep -cE '^ *- logs:/var/log/pods' "$work/compose" | grep -qx 3
}

makefile_drives_compose() {
	for target in monitoring writer inspect down reset; do
		make -n "$target" | grep -q 'deploy/compose.yaml' || { echo "$target" && return 1; }
	done
}

# A tree with one line: what an unprivileged user sees too.
example_is_accepted() {
	mkdir -p "$work/logs/ns_pod_uid/c"
	echo '2026-01-02T03:04:05Z stdout F hello' >"$work/logs/ns_pod_uid/c/0.log"
	timeout 60 "$hotdrain" run --config deploy/config.yaml --state none --root "$work/logs" \
		--exit-when-idle 100ms >"$work/out" || return
	cat "$work/out"
	grep -q '"message":"hello"' "$work/out"
}

installed() {
	make -s install B="$B" DESTDIR="$work/root" PREFIX=/opt/h &&
		"$work/root/opt/h/bin/hotdrain" --version &&
		grep -q '^ExecStart=/opt/h/bin/hotdrain ' \
			"$work/root/opt/h/lib/systemd/system/hotdrain.service" || return
	echo 'linger: 1ms' >"$work/root/etc/hotdrain/config.yaml"
	make -s install B="$B" DESTDIR="$work/root" PREFIX=/opt/h &&
		grep -qx 'linger: 1ms' "$work/root/etc/hotdrain/config.yaml"
}

writer_writes_and_rotates() {
	timeout 60 sh deploy/writer.sh "$work/pods" 3 || return
	[ "$(find "$work/pods" -name 0.log | wc -l)" = 4 ] || return
	timeout 60 "$hotdrain" run -q --state none -r "$work/pods" --exit-when-idle 100ms >"$work/out" || return
	[ "$(grep -c '"message":"request ' "$work/out")" = 12000 ] &&
		[ "$(grep -c '"message":"line ' "$work/out")" = 9 ]
}

# Rows of COPY and of RUN name what is there.
dockerfile_is_consistent() {
	sed -n 's/^COPY --from=[a-z]* .*//; s/^COPY \([^ ]*\) .*/\1/p' deploy/Dockerfile |
		while read -r from; do
			[ -e "$from" ] || { echo "$from" && exit 1; }
		done || return
	for library in $(ldd "$hotdrain" | grep -oE 'lib(bpf|elf|z|cyaml|cap-ng)\.so' | sort -u); do
		case $library in
		libbpf.so) package=libbpf1 ;;
		libelf.so) package=libelf1 ;;
		libz.so) package=zlib1g ;;
		libcyaml.so) package=libcyaml1 ;;
		libcap-ng.so) package=libcap-ng0 ;;
		esac
		grep -qE "install .* $package( |\$)" deploy/Dockerfile || { echo "$library" && return 1; }
	done
}

if need kubectl kustomization_is_valid image_is_set_by_kubectl daemonset_says_what_is_needed \
	settings_are_mounted_under_a_hashed_name metrics_port_is_one network_policy_is_valid \
	labels_component_asks_for_pods; then
	check kustomization_is_valid kustomized
	check image_is_set_by_kubectl image_is_set
	check daemonset_says_what_is_needed has "$work/daemonset.yaml" 'privileged: true' \
		'path: /var/log$' 'path: /var/lib/hotdrain$' 'readOnly: true' 'operator: Exists' \
		'name: HOTDRAIN_POD_UID' 'fieldPath: metadata.uid' 'memory: 128Mi'
	check settings_are_mounted_under_a_hashed_name settings_are_mounted_under_a_hashed_name
	check metrics_port_is_one metrics_port_is_one
	check network_policy_is_valid restricted
	check labels_component_asks_for_pods labels_component_asks_for_pods
fi
if need systemd-analyze unit_is_valid a_bad_unit_is_found; then
	check unit_is_valid unit_is_valid
	check a_bad_unit_is_found bad_unit_is_found
fi
if need docker-compose compose_is_valid; then
	check compose_is_valid compose_is_valid
fi
check makefile_drives_compose makefile_drives_compose
check dockerfile_is_consistent dockerfile_is_consistent
check example_configuration_is_accepted example_is_accepted
check compose_writer_is_collected writer_writes_and_rotates
check install_keeps_settings installed
exit $bad
