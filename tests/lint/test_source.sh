#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What can be said of the source without compiling it.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

for f in *; do
	case $f in
	Makefile | bpf | user | tests | vmlinux | deploy | README.md | build) ;;
	*) echo "$f" ;;
	esac
done | verdict top_level_holds_nothing_else
for f in Makefile bpf user tests vmlinux deploy README.md; do
	[ -e "$f" ] || echo "$f is missing"
done | verdict top_level_is_complete

# Dot files, prose and what a program reads as data carry none.
files | grep -vE '(^|/)\.[^/]*$|\.md$|\.json$|^tests/.*/(corpus|data)/' | while read -r f; do
	head -n 3 "$f" | grep -q 'SPDX-License-Identifier: ' || echo "$f"
done | verdict every_file_names_its_license
files bpf vmlinux | grep '\.[ch]$' | while read -r f; do
	head -n 1 "$f" | grep -q 'SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause' || echo "$f"
done | verdict kernel_half_is_gpl_or_bsd

files user bpf | grep '\.[ch]$' | while read -r f; do
	lines=$(wc -l <"$f")
	case $f in
	*.bpf.h) max=500 ;; # code that is compiled into programs
	*.h) max=120 ;;
	*) max=500 ;;
	esac
	[ "$lines" -le $max ] || echo "$f has $lines lines, at most $max"
done | verdict files_are_short

if command -v ctags >/dev/null; then
	files user bpf | grep '\.[ch]$' | xargs ctags -x --c-kinds=f --_xformat='%F %N %n %e' |
		awk '$4 - $3 + 1 > 80 { print $1 ": " $2 " has " $4 - $3 + 1 " lines, at most 80" }' |
		verdict functions_are_short
	long=$(files user bpf | grep '\.[ch]$' | xargs ctags -x --c-kinds=f --_xformat='%F %N %n %e' |
		awk '{ all++; if ($4 - $3 + 1 >= 50) long++ } END { print all + 0, long + 0 }')
	echo "$long" | awk '$1 == 0 || $2 * 10 > $1 { print $2 " of " $1 " functions" }' |
		verdict nine_functions_in_ten_are_under_50_lines
else
	skipped functions_are_short "no ctags (universal-ctags)"
	skipped nine_functions_in_ten_are_under_50_lines "no ctags (universal-ctags)"
fi

# Each has a bounded or checked sibling.
files user | grep '\.[ch]$' | xargs grep -nE \
	'[^a-z_](strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|alloca|mktemp)\(' |
	verdict no_unbounded_library_call
files | grep -vE '^tests/lint/|\.md$' | xargs grep -nIE '\<(TODO|FIXME|XXX)\>' |
	verdict nothing_is_left_to_do_in_a_comment
files user | grep '\.[ch]$' | xargs grep -nE '^[^/*]*typedef struct' | verdict no_struct_hides_in_a_typedef
files | grep '\.\(c\|h\|sh\|py\|yaml\|service\)$' | xargs grep -nE '[[:blank:]]+$' |
	verdict no_blanks_at_the_end_of_a_line

# A header is what its includer gets: it compiles alone.
for f in $(files user | grep '\.h$'); do
	echo "#include \"${f#user/}\"" >"$work/h.c"
	# shellcheck disable=SC2046
	cc -std=gnu11 -D_GNU_SOURCE -Iuser -Ibpf -I"${B:-build}" $(pkg-config --cflags libbpf) \
		-fsyntax-only "$work/h.c" 2>"$work/err" || { echo "$f:"; head -n 3 "$work/err"; }
done | verdict every_header_stands_alone

verdicts_end
