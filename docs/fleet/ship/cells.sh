#!/bin/sh
# Once a day on each MX, by cron: yesterday's ledger summed into cells and put where all meet. A few thousand lines instead
# of all. What is sent again overwrites what was sent before, so nothing counts twice.
#
#   17 3 * * *  smtp-smol  /usr/local/lib/fleet/cells.sh
#
# There: smtp-smol audit /var/lib/fleet/cells/*.jsonl --html /var/www/starttls.html
set -eu
node=${NODE:-$(hostname -f)}
ledger=${LEDGER:-/var/lib/smtp-smol/ledger.jsonl.1}
to=${TO:-collector.example.net:/var/lib/fleet/cells/}
key=${KEY:-/etc/smtp-smol/fleet.key}
day=$(date -u -d yesterday +%F)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${SMTP_SMOL:-smtp-smol}" audit "$ledger" --node "$node" --key "$key" --cells "$folder/$node-$day.jsonl" >/dev/null
rsync --archive --chmod=F640 "$folder/$node-$day.jsonl" "$to"
