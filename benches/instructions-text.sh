#!/usr/bin/env bash
# Instructions an octet, for two scans (strict, and lenient with LF and NUL) and one conversion of each hostile text together, by callgrind.
set -euo pipefail
cd "$(dirname "$0")"
cargo build -q --profile bench --bin hostile
program=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/hostile
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$@" 2>&1 | sed -n 's/.*refs: *//p' | tr -d ,
}
for name in $("$program"); do
    # The difference of two runs is free of what only happens once.
    awk -v name="$name" -v a="$(count "$name" 2)" -v b="$(count "$name" 6)" \
        'BEGIN { printf "%-12s %6.2f\n", name, (b - a) / 4 / 16384 }'
done
