#!/usr/bin/env bash
# What `serve` spends on a message beside what its library does: instructions by callgrind, as the difference to a server
# of `smtp_smol` that takes everything and keeps nothing, both fed by Postfix's smtp-source over one connection. Counted is
# what session and handler do, not how often the reactor had to wait, which is not twice the same. Two runs of different
# length, so that what is done once cancels out. No ledger is kept; each message has its line on standard output.
#
#     bash benches/bookkeeping.sh [OCTETS]
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin"
octets=${1:-4096}
cargo build -q --locked --release -p smtp-smol-cli
target() { cargo metadata "$@" --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'; }
serve=$(target)/release/smtp-smol
cargo build -q --locked --release --manifest-path benches/Cargo.toml --bin bare
bare=$(target --manifest-path benches/Cargo.toml)/release/bare
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Prints the instructions of a run: so many messages to this program. A free port is one that nobody has used of late.
count() {
    local messages=$1 port=$((20000 + RANDOM % 10000)) server
    shift
    # One core: what a second thread would do is no matter of a message's.
    taskset -c 0 valgrind --tool=callgrind --callgrind-out-file="$scratch/out" --log-file="$scratch/log" \
        --toggle-collect='smtp_smol::server::connection::Connection<*>::step*' \
        "${@//PORT/$port}" >"$scratch/lines" 2>"$scratch/words" &
    server=$!
    for _ in $(seq 300); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
        sleep 0.1
    done
    smtp-source -d -m "$messages" -l "$octets" -f a@load.example -t b@load.example "inet:127.0.0.1:$port"
    kill "$server"
    wait "$server" || true
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$scratch/log"
}

each() {
    local few many
    few=$(count 200 "$@")
    many=$(count 1200 "$@")
    echo $(((many - few) / 1000))
}

with=$(each "$serve" serve --listen 127.0.0.1:PORT --deliver discard --tls off)
without=$(each "$bare" 127.0.0.1:PORT)
printf 'serve %d, bare %d, bookkeeping %d instructions a message of %d octets\n' \
    "$with" "$without" $((with - without)) "$octets"
