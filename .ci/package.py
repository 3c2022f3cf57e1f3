#!/usr/bin/env python3
"""Every library can be packaged as it would be for a registry, under another name than its folder's.

In this repository `publish = false` stands, and a crate called smtp-proto, by other authors, is on crates.io. So this
takes a copy, allows publishing there, renames the core's package, and has cargo package and build what would be
uploaded. Nothing is uploaded."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
OLD, NEW = "smtp-proto", "smtp-proto-by-another-name"


def rename(manifest, old, new):
    """The `name` of the package, and the `package` of dependencies by path; nothing that comes from a registry."""
    lines = manifest.read_text().splitlines(keepends=True)
    ours = [bool(re.match(r"name\b", line)) or "path =" in line for line in lines]
    changed = [re.sub(rf'\b(name|package) = "{old}"', rf'\1 = "{new}"', line) if own else line
               for line, own in zip(lines, ours)]
    manifest.write_text("".join(changed))
    return sum(a != b for a, b in zip(lines, changed))


with tempfile.TemporaryDirectory() as scratch:
    copy = pathlib.Path(scratch) / "copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("target", ".git", "seeds", "mail"))
    counts = {str(path.relative_to(copy)): rename(path, OLD, NEW) for path in sorted(copy.rglob("Cargo.toml"))}
    counts = {path: count for path, count in counts.items() if count}
    expected = {"Cargo.toml": 1, "smtp-proto/Cargo.toml": 1, "fuzz/Cargo.toml": 1, "benches/Cargo.toml": 1}
    if counts != expected:
        sys.exit(f"renaming the core's package takes these lines: {counts}; one each was expected in {list(expected)}")
    root = copy / "Cargo.toml"
    root.write_text(root.read_text().replace("publish = false", "publish = true"))
    metadata = subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=copy, check=True,
                              stdout=subprocess.PIPE).stdout
    libraries = [package["name"] for package in json.loads(metadata)["packages"]
                 if any("lib" in target["kind"] for target in package["targets"])]
    if NEW not in libraries:
        sys.exit(f"no library called {NEW} among {libraries}")
    options = [option for name in libraries for option in ("-p", name)]
    # A place of its own: by it cargo names the registry from which one of these gets the other, and what it has unpacked from a
    # registry it takes for what is there, also when another state of the sources has been packed since.
    target = pathlib.Path(scratch) / "target"
    subprocess.run(["cargo", "package", "--quiet", "--allow-dirty", "--target-dir", target, *options], cwd=copy, check=True)
    for name in libraries:
        made = list((target / "package").glob(f"{name}-[0-9]*.crate"))
        print(f"{name}: {', '.join(f'{file.stat().st_size // 1024} KiB' for file in made) or 'not made'}")
        if not made:
            sys.exit(1)
