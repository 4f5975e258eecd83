#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# clang-tidy with the checks of .clang-tidy. Needs a build: the skeleton's header is generated.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

# What was looked at and found to be right: file, check, and why.
accepted() {
	cat <<-EOF
		user/heat/write_bpf.c core.NullDereference slots are mapped once bpf_load returned 0
	EOF
}

# check FILE..: "file:line:column: warning: what [check]"
check() {
	# shellcheck disable=SC2046,SC2016
	printf '%s\n' "$@" | xargs -P "$(nproc)" -n 4 sh -c '
		flags=$1 && shift
		clang-tidy --quiet "$@" -- $flags 2>/dev/null' tidy \
		"-std=gnu11 -D_GNU_SOURCE -DVERSION=\"\" -Iuser -Ibpf -I${B:-build} $(
			echo $(pkg-config --cflags libbpf libelf zlib libcyaml libcap-ng))" |
		grep -E ': (warning|error): .*\[' | sed "s|^$PWD/||" | sort -u |
		grep -v "^${B:-build}/"
}

if ! command -v clang-tidy >/dev/null; then
	skipped clang_tidy_has_nothing_to_say "no clang-tidy"
	verdicts_end
fi
if [ ! -e "${B:-build}/warm_reads.skel.h" ]; then
	skipped clang_tidy_has_nothing_to_say "not built yet"
	verdicts_end
fi
# shellcheck disable=SC2046
check $(files user | grep '\.c$') >"$work/all"
accepted | while read -r file id why; do
	grep -n "^$file:.*$id" "$work/all" | cut -d: -f1 | sed 's/$/d/'
done >"$work/drop"
sed -f "$work/drop" "$work/all" | verdict clang_tidy_has_nothing_to_say
printf 'int f(int *p)\n{\n\tif (!p)\n\t\treturn *p;\n\treturn 0;\n}\n' >"$work/wrong.c"
{ check "$work/wrong.c" --config-file=.clang-tidy | grep -q NullDereference ||
	echo "nothing was found in it"; } | verdict a_null_dereference_is_found

verdicts_end
