#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

# internalAstError: cppcheck itself stumbles over a conditional in a designated initialiser.
check() {
	cppcheck -q --std=c11 --enable=warning,portability,performance --inconclusive \
		--inline-suppr --suppress=internalAstError -D_GNU_SOURCE '-DVERSION=""' \
		'-DLIBBPF_OPTS(t, n, ...)=struct t n = {__VA_ARGS__}' \
		-Iuser -Ibpf --template='{file}:{line}: {severity}: {message} [{id}]' "$@" 2>&1
}

if ! command -v cppcheck >/dev/null; then
	skipped cppcheck_has_nothing_to_say "no cppcheck"
	verdicts_end
fi
check user | verdict cppcheck_has_nothing_to_say
printf 'int f(void)\n{\n\tint a[2];\n\n\treturn a[2];\n}\n' >"$work/wrong.c"
{ check "$work/wrong.c" | grep -q . || echo "nothing was found in it"; } |
	verdict a_read_out_of_bounds_is_found

verdicts_end
