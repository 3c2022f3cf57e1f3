#!/usr/bin/env python3
"""Files and tests that a page names must exist: relative links, and `names_of_tests` in docs/architecture.md and
docs/security.md. Every page of docs/ stands in docs/SUMMARY.md."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
SKIP = {"target", ".git", "mail"}

sources = [path for kind in ("rs", "py") for path in ROOT.rglob(f"*.{kind}") if not SKIP & set(path.relative_to(ROOT).parts)]
functions = set(re.findall(r"\b(?:fn|def) (\w+)\s*[(<]", "\n".join(path.read_text() for path in sources)))
wrong = checked = 0
for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
    text = page.read_text()
    names = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text)
    missing = [f"file {name}" for name in names if not (page.parent / name).exists()]
    if page.name in ("architecture.md", "security.md"):
        tests = re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+){2,})`", text)
        missing += [f"test {name}" for name in tests if name not in functions]
        names += tests
        missing += [f"file {name}" for name in re.findall(r"^\| `(?:\.ci|smtp|docs)[^`]*`", text, re.M)
                    for name in re.findall(r"`([^`]+)`", name) if not (ROOT / name).exists()]
    checked += len(names)
    wrong += len(missing)
    for name in missing:
        print(f"{page.relative_to(ROOT)}: no {name}")
# The book: every page stands in its table of contents, once.
contents = re.findall(r"\]\(([^)]+)\)", (ROOT / "docs/SUMMARY.md").read_text())
pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")} - {"SUMMARY.md"}
for name in sorted(pages ^ set(contents)) + sorted(name for name in set(contents) if contents.count(name) > 1):
    print(f"docs/SUMMARY.md: {name} must stand there once, and be a page")
    wrong += 1
print(f"{checked} names checked, {wrong} wrong")
sys.exit(1 if wrong or not checked else 0)
