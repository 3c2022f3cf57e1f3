#!/usr/bin/env bash
# Instructions that a client spends on a reply to EHLO of 13 lines, and of one, with its session and the greeting, by
# callgrind: two runs of different length, so that starting up cancels out.
set -euo pipefail
cd "$(dirname "$0")"
cargo build -q --profile bench --bin hello
program=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/hello
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$@" 2>&1 | sed -n 's/.*refs: *//p' | tr -d ,
}
for lines in 0 1 13; do
    printf '%2d lines: %d\n' "$lines" $((($(count "$lines" 1100) - $(count "$lines" 100)) / 1000))
done
