#!/bin/sh
# Runs a command beside a number of busy processes, which end with it:
#   scripts/beside-load.sh 10 make test
load=$1
shift
while [ "$load" -gt 0 ]; do
	sh -c 'while kill -0 "$1" 2>/dev/null; do n=0; while [ "$n" -lt 100000 ]; do n=$((n + 1)); done; done' busy $$ &
	load=$((load - 1))
done
"$@"
