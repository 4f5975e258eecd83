#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every shell script, by its first line or its name.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

scripts() {
	files | while read -r f; do
		case $f in
		*.sh) echo "$f" ;;
		*.*) ;;
		*) head -n 1 "$f" | grep -qaE '^#!.*\<(ba)?sh$' && echo "$f" ;;
		esac
	done
	files .ci/run
}

# check DIALECT-OPTION..: of the scripts named on standard input. Notes about style are left to the
# reader; a variable may belong to the script that sources or is sourced.
check() {
	xargs -r shellcheck -x -S warning -e SC2034,SC2154,SC2187 -f gcc "$@"
}

if ! command -v shellcheck >/dev/null; then
	skipped shellcheck_has_nothing_to_say "no shellcheck"
	verdicts_end
fi
scripts | sort -u >"$work/scripts"
while read -r f; do
	head -n 1 "$f" | grep -q '^#!' && echo "$f"
done <"$work/scripts" >"$work/programs"
{
	check <"$work/programs"
	grep -vxFf "$work/programs" "$work/scripts" | check -s sh
} | verdict shellcheck_has_nothing_to_say
# shellcheck disable=SC2016
printf '#!/bin/sh\nfor x in $(ls); do cd $x; done\n' >"$work/wrong.sh"
{ echo "$work/wrong.sh" | check | grep -q . || echo "nothing was found in it"; } |
	verdict a_bad_script_is_found

verdicts_end
