#!/usr/bin/env bash
# The load comparison, all rows, all servers: installs what it needs on a Debian machine, builds, and runs. As root.
#
#     benches/load.sh                                    the table of docs/load.md
#     benches/load.sh --rounds 3 --row STARTTLS          as `load table --help` tells
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin" DEBIAN_FRONTEND=noninteractive

missing=""
command -v smtp-sink >/dev/null || missing+=" postfix"
command -v go >/dev/null || missing+=" golang-go"
[ -d /usr/share/gocode/src/github.com/emersion/go-smtp ] || missing+=" golang-github-emersion-go-smtp-dev"
[ -d /usr/share/gocode/src/github.com/emersion/go-sasl ] || missing+=" golang-github-emersion-go-sasl-dev"
python3 -c 'import ensurepip' 2>/dev/null || missing+=" python3-venv"
if [ -n "$missing" ]; then
    [ "$(id -u)" -eq 0 ] || { echo "missing:$missing; install them, or run this as root" >&2; exit 1; }
    # Not set up as the machine's own: the comparison starts it with settings of its own.
    echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
    apt-get update -q
    # shellcheck disable=SC2086
    apt-get install -q -y --no-install-recommends $missing
fi

cargo build -q --locked --release -p smtp-mio-cli
cd benches
cargo build -q --locked --release --bin load --bin floor --bin bare --bin mailin
target/release/load table "$@"
