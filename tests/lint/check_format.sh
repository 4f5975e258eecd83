#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# .clang-format decides. The hand-made tables between "clang-format off" and "on" are exempt.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

if ! command -v clang-format >/dev/null; then
	skipped sources_are_formatted "no clang-format"
	verdicts_end
fi
files user bpf vmlinux tests | grep '\.[ch]$' | xargs clang-format --dry-run -Werror 2>&1 |
	grep 'error: ' | sed 's|:[0-9]*:[0-9]*: error:.*||' | sort -u | verdict sources_are_formatted
printf 'int  x ;\n' >"$work/wrong.c"
{ clang-format --dry-run -Werror --style=file:.clang-format "$work/wrong.c" 2>&1 | grep -q error: ||
	echo "nothing was found in it"; } | verdict a_badly_formatted_file_is_found
files user bpf tests | grep '\.[ch]$' | xargs grep -c 'clang-format off' | grep -v ':[01]$' |
	verdict exemptions_are_rare

verdicts_end
