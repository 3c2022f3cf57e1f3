#!/usr/bin/env bash
# Instructions a transaction, and instructions an octet of what a hostile peer sends, by callgrind: two runs of different
# length, so that starting up cancels out. What an octet costs must not grow with the number of octets: the last two
# columns of each kind are for 64 KiB and for 1 MiB.
#
#     bash benches/transactions.sh
set -euo pipefail
cd "$(dirname "$0")"
cargo build -q --profile bench --bin transactions
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
transactions=$target/release/transactions

# Prints the instructions of a run.
count() {
    local log
    log=$(mktemp)
    valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-file="$log" "$transactions" "$@" >/dev/null
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$log"
    rm -f "$log"
}

printf '%-24s %12s %12s\n' "instructions" pipelined "one by one"
for octets in 200 4096 1000000; do
    printf '%-24s' "$octets octets"
    for pipelined in true false; do
        few=$(count mail "$octets" "$pipelined" 10)
        many=$(count mail "$octets" "$pipelined" 30)
        printf ' %12d' $(((many - few) / 20))
    done
    printf '\n'
done

# Instructions an octet, between so many octets and twice as many.
slope() {
    local few many
    few=$(count attack "$1" "$2" "$3" "$4")
    many=$(count attack "$1" "$2" $((2 * $3)) "$4")
    awk -v n=$((many - few)) -v octets="$3" 'BEGIN { printf " %9.2f", n / octets }'
}

printf '\n%-24s %9s %9s %9s %9s %9s %9s\n' "instructions an octet" text "" "by octet" commands "" "by octet"
number=0
"$transactions" names | while read -r name; do
    printf '%-24s' "$name"
    for as_text in true false; do
        slope "$number" "$as_text" 65536 16384
        slope "$number" "$as_text" 1048576 16384
        slope "$number" "$as_text" 65536 1
    done
    printf '\n'
    number=$((number + 1))
done
