# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Sourced by the checks in this folder, from the top of the tree: TAP lines, and which files there
# are to look at.
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d "${TMPDIR:-/tmp}/hotdrain-lint.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# The verdict stands at the end of a pipe, in its own shell: what it finds out is kept in files.
number() {
	echo >>"$work/verdicts"
	wc -l <"$work/verdicts"
}

# verdict NAME: passes when standard input is empty; else each of its lines says what is wrong.
verdict() {
	if grep . >"$work/found"; then
		: >"$work/failed"
		echo "not ok $(number) - $1"
		sed 's/^/# /' "$work/found"
	else
		echo "ok $(number) - $1"
	fi
}

skipped() {
	echo "ok $(number) - $1 # SKIP $2"
}

verdicts_end() {
	[ ! -e "$work/failed" ]
	exit
}

# All that belongs to the project, also what is not yet committed; nothing generated.
files() {
	if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
		git ls-files --cached --others --exclude-standard "$@"
	else
		find "${@:-.}" -type f ! -path './build/*' | sed 's|^\./||'
	fi | while read -r f; do
		[ ! -f "$f" ] || echo "$f"
	done
}
