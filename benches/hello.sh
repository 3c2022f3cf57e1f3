#!/usr/bin/env bash
# Instructions that a client spends on a reply to EHLO of 13 lines, of one, and before it has come, with its session and the
# greeting; and what reading such a reply costs by itself, ours and the peers'. By callgrind: two runs of different length, so that
# starting up cancels out.
set -euo pipefail
cd "$(dirname "$0")"
cargo build -q --profile bench --bin hello --bin announced
programs=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$programs/$1" "${@:2}" 2>&1 | sed -n 's/.*refs: *//p' | tr -d ,
}
each() { echo $((($(count "$@" 1100) - $(count "$@" 100)) / 1000)); }
for lines in 0 1 13; do
    printf '%2d lines: %d\n' "$lines" "$(each hello "$lines")"
done
for parser in "this" "smtp-proto of crates.io" "smtp-codec"; do
    printf '%-26s finds %2d: %d\n' "$parser" "$("$programs/announced" "$parser" 1)" "$(each announced "$parser")"
done
