#!/usr/bin/env bash
# Instructions a command, ours and the peers', by callgrind: two runs of different length, so that starting up cancels out.
#
#     bash benches/instructions.sh [PARSER ...]
set -euo pipefail
cd "$(dirname "$0")"
cargo build -q --profile bench --bin mix
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
mix=$target/release/mix

# Prints instructions, lines and how many of these were accepted.
count() {
    local log said
    log=$(mktemp)
    said=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-file="$log" "$mix" "$@")
    echo "$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$log") $said"
    rm -f "$log"
}

if [ $# -eq 0 ]; then set -- "this" "smtp-proto of crates.io" "smtp-message" "smtp-codec"; fi
printf '%-26s %10s %14s\n' parser accepted 'instructions'
for verb in "" EHLO MAIL RCPT DATA STARTTLS AUTH BDAT VRFY; do
    printf -- '-- %s\n' "${verb:-the mix}"
    for parser in "$@"; do
        read -r few few_lines _ < <(count "$parser" 100 "$verb")
        read -r many many_lines accepted < <(count "$parser" 600 "$verb")
        printf '%-26s %9d%% %14d\n' "$parser" $((100 * accepted / many_lines)) $(((many - few) / (many_lines - few_lines)))
    done
done
