#!/usr/bin/env python3
"""Which other crates' types a crate shows in its public interface, from rustdoc's JSON: it must be none but the allowed.

    public_types.py target/doc/smtp_proto.json core alloc
"""

import json
import sys

interface = json.load(open(sys.argv[1]))
allowed = set(sys.argv[2:])
crates = {int(number): crate["name"] for number, crate in interface["external_crates"].items()}
shown = set()  # (crate, its type, our item that shows it)


def walk(value, item):
    if isinstance(value, list):
        for part in value:
            walk(part, item)
    elif isinstance(value, dict):
        # A type, or a trait, that is referred to; the crate with number 0 is this one.
        path = interface["paths"].get(str(value.get("id"))) if "path" in value or "name" in value else None
        if path and path["crate_id"] != 0:
            place = (item.get("span") or {}).get("filename", "?")
            shown.add((crates[path["crate_id"]], "::".join(path["path"]), f"{item.get('name') or 'an impl'} in {place}"))
        for part in value.values():
            walk(part, item)


for item in interface["index"].values():
    # What other crates implement for every type there is, is not ours to decide.
    if not item["inner"].get("impl", {}).get("blanket_impl"):
        walk(item["inner"], item)

wrong = sorted(entry for entry in shown if entry[0] not in allowed)
for crate, name, where in wrong:
    print(f"{where} shows {name}")
print(f"public interface: types of {', '.join(sorted({crate for crate, *_ in shown}))}")
sys.exit(1 if wrong or not shown else 0)
