#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Data goes one way, and a room is changed without knowing the others: nothing includes up or
# across.
#
#   base <- event <- watch files heat drain output account meta serve
#
# Each of these also includes the plain data it is handed (the list below). Only the collector, the
# configuration, main.c and cli/ see all rooms. The kernel's half is heat's business.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

plain="output/batch.h drain/decode.h files/chain.h files/tally.h files/file.h files/identity.h heat/write_count.h"

# wrong DIR: a line for each include below DIR that is not allowed. DIR is laid out as user/.
wrong() {
	find "$1" -name '*.[ch]' | sort | while read -r f; do
		sed -n 's/^[ \t]*#[ \t]*include[ \t]*"\([^"]*\)".*/\1/p' "$f" | while read -r to; do
			allowed "${f#"$1"/}" "$to" || echo "$f: includes $to"
		done
	done
}

# allowed FILE INCLUDED
allowed() {
	case $1 in
	collector*.[ch] | config*.[ch] | main.c | cli/*) return 0 ;;
	*/*) room=${1%%/*} ;;
	*) return 1 ;; # nothing else stands between the rooms
	esac
	case $room:$2 in
	heat:../bpf/*.h | heat:*.skel.h) return 0 ;;
	files:drain/join.h) return 0 ;; # its struct is embedded in the container's chain
	files:drain/gz.h) return 0 ;;   # which a compressed file owns
	account:files/pod_path.h | account:output/escape.h) return 0 ;; # pure, text to text
	serve:files/pod_path.h | serve:output/escape.h | meta:output/escape.h) return 0 ;;
	*/../* | *:../*) return 1 ;;
	base:base/* | event:base/* | event:event/*) return 0 ;;
	base:* | event:*) return 1 ;;
	*:base/* | *:event/* | "$room:$room"/*) return 0 ;;
	esac
	case " $plain " in
	*" $2 "*) return 0 ;;
	esac
	return 1
}

wrong user | verdict nobody_includes_up_or_across

# The check itself: each line is a file, what it includes, and the verdict.
while read -r file to want; do
	mkdir -p "$work/t/$(dirname "$file")"
	echo "#include \"$to\"" >"$work/t/$file"
	got=good
	[ -z "$(wrong "$work/t")" ] || got=wrong
	rm -rf "$work/t"
	[ "$got" = "$want" ] || echo "$file including $to is found $got"
done <<EOF | verdict what_is_up_or_across_is_found
base/a.c base/b.h good
base/a.c event/b.h wrong
base/a.h output/batch.h wrong
event/a.c base/b.h good
event/a.c event/b.h good
event/a.c files/file.h wrong
watch/a.c event/b.h good
watch/a.c watch/b.h good
watch/a.c files/files.h wrong
watch/a.c files/file.h good
drain/a.c output/batch.h good
drain/a.c output/sink.h wrong
output/a.c drain/decode.h good
output/a.c drain/join.h wrong
drain/a.c config.h wrong
drain/a.c collector.h wrong
drain/a.c ../output/sink.h wrong
drain/a.c base/../output/sink.h wrong
drain/a.c write_count.skel.h wrong
account/a.c files/pod_path.h good
account/a.c output/sink.h wrong
drain/a.c output/escape.h wrong
heat/a.c write_count.skel.h good
heat/a.c ../bpf/write_count.h good
drain/a.c ../bpf/write_count.h wrong
drain/a.c drain/../heat/heat.h wrong
base/a.c base/../drain/join.h wrong
other.c base/log.h wrong
collector_drain.c output/sink.h good
config_table.c output/encode.h good
main.c cli/doctor.h good
cli/doctor.c heat/write_count.h good
EOF
verdicts_end
