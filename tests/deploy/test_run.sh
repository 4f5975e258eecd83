#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The test runner itself: it must not call anything well that is not.
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d "${TMPDIR:-/tmp}/hotdrain-run.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
n=0
bad=0
limit=2 # seconds that a suite may take

# case NAME STATUS LAST-LINE SCRIPT [SCRIPT..]: each script is a suite.
expect() {
	name=$1 status=$2 last=$3
	shift 3
	rm -rf "$work/s" && mkdir "$work/s"
	for script in "$@"; do
		printf '%s\n' "$script" >"$work/s/$#.sh"
		shift
	done
	B=$work TEST_TIMEOUT=$limit TEST_ONLY='' tests/run "$work"/s/*.sh >"$work/out" 2>&1
	got=$?
	n=$((n + 1))
	if [ $got = "$status" ] && [ "$(tail -n 1 "$work/out")" = "$last" ]; then
		echo "ok $n - $name"
	else
		bad=1
		echo "not ok $n - $name"
		echo "# status $got; it said:"
		sed 's/^/# | /' "$work/out"
	fi
}

expect passed_and_skipped_are_counted_apart 0 "2 passed, 0 failed, 1 skipped" \
	'echo ok 1 - a; echo ok 2 - b; echo "ok 3 - c # SKIP no root"'
expect cmocka_skips_are_skips 0 "1 passed, 0 failed, 1 skipped" \
	'echo "not ok 1 - c # SKIP"; echo ok 2 - b'
expect suites_are_summed 0 "3 passed, 0 failed, 0 skipped" 'echo ok 1 - a' 'echo ok 1; echo ok 2'
expect a_failure_is_counted 1 "1 passed, 1 failed, 0 skipped" \
	'echo ok 1 - a; echo not ok 2 - b; exit 1'
expect a_failure_counts_although_the_suite_ends_well 1 "0 passed, 1 failed, 0 skipped" \
	'echo not ok 1 - b'
expect bad_status_without_failure_is_one 1 "1 passed, 1 failed, 0 skipped" 'echo ok 1 - a; exit 3'
# shellcheck disable=SC2016
expect killed_suite_is_a_failure 1 "1 passed, 1 failed, 0 skipped" 'echo ok 1 - a; kill -9 $$'
expect silent_suite_is_a_failure 1 "0 passed, 1 failed, 0 skipped" 'echo hello'
expect suite_cut_short_is_a_failure 1 "1 passed, 1 failed, 0 skipped" 'echo 1..2; echo ok 1 - a'
expect slow_suite_is_ended 1 "1 passed, 1 failed, 0 skipped" 'echo ok 1 - a; sleep 60'
expect nothing_passed_is_not_well 1 "0 passed, 0 failed, 1 skipped" 'echo "ok 1 - a # SKIP no"'
expect what_a_suite_leaves_behind_is_ended 0 "1 passed, 0 failed, 0 skipped" \
	"sleep 61 & echo \$! >$work/left; echo ok 1 - a"
export TEST_LANES=2
# Each leaves a mark that stays and waits for the other's.
# shellcheck disable=SC2016
meet='touch "$0.here"; i=0
while [ $i -lt 150 ] && [ "$(ls "${0%/*}" | grep -c here)" -lt 2 ]; do i=$((i + 1)); sleep 0.1; done
[ $i -lt 150 ] && echo "ok - met" || echo "not ok - alone"'
# A mark that only one can set, for as long as it runs.
# shellcheck disable=SC2016
apart='mkdir "${0%/*}/in" && echo "ok - alone" || echo "not ok - met"; sleep 0.5; rmdir "${0%/*}/in"'
limit=20
expect two_run_at_a_time 0 "2 passed, 0 failed, 0 skipped" "$meet" "$meet"
expect those_of_one_lane_do_not 0 "2 passed, 0 failed, 0 skipped" "# lane: here
$apart" "# lane: here
$apart"
n=$((n + 1))
if kill -0 "$(cat "$work/left")" 2>/dev/null &&
	[ "$(cut -d' ' -f3 "/proc/$(cat "$work/left")/stat" 2>/dev/null)" != Z ]; then
	bad=1
	echo "not ok $n - nothing_runs_on"
else
	echo "ok $n - nothing_runs_on"
fi
exit $bad
