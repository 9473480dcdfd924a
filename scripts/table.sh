#!/bin/sh
# Writes a table between the marks <!-- NAME --> and <!-- end of NAME --> of a page.
#
# usage: table.sh NAME TABLE PAGE
set -eu
awk -v table="$2" -v begin="<!-- $1 -->" -v end="<!-- end of $1 -->" '
	index($0, begin) { print; while ((getline line < table) > 0) print line; skip = 1 }
	index($0, end) { skip = 0 }
	!skip' "$3" > "$2.page"
cp "$2.page" "$3"
