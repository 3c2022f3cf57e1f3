#!/usr/bin/env python3
"""The public interface of a crate as a text that is kept in git, from rustdoc's JSON: an item a line, with its signature.

    public_api.py smtp_proto.json docs/api/smtp-proto.txt            says where they differ
    public_api.py --update smtp_proto.json docs/api/smtp-proto.txt   writes it anew
"""

import difflib
import json
import pathlib
import re
import sys

# What every type has, or has not, is told by these alone where it is surprising; the rest would be noise.
ANYWAY = {"StructuralPartialEq", "Freeze", "UnsafeUnpin", "RefUnwindSafe", "UnwindSafe"}


class Crate:
    def __init__(self, file):
        self.json = json.load(open(file))
        self.index = {int(number): item for number, item in self.json["index"].items()}
        self.lines = set()

    def listing(self):
        root = self.json["root"]
        self.module(self.index[root]["name"], self.index[root])
        # By place, then by what is said of it.
        place = re.compile(rf"\b{self.index[root]['name']}(::\w+)*")
        return "".join(f"{line}\n" for line in sorted(self.lines, key=lambda line: (place.search(line)[0], line)))

    def item(self, number, path, name=None):
        item = self.index.get(number)
        if item is None or item["visibility"] not in ("public", "default"):
            return
        (kind, inner), = item["inner"].items()
        place = f"{path}::{name or item['name']}"
        if hasattr(self, kind):
            getattr(self, kind)(place if kind != "use" else path, item)
        else:
            raise SystemExit(f"{place}: {kind} is not known here")

    # Items, each with its place.

    def module(self, place, item):
        self.lines.add(f"mod {place}")
        for number in item["inner"]["module"]["items"]:
            self.item(number, place)

    def use(self, path, item):
        use = item["inner"]["use"]
        target = self.index.get(use["id"])
        if target is None:
            self.lines.add(f"use {path}::{use['name']} = {use['source']}")
        elif use["is_glob"]:
            (kind, inner), = target["inner"].items()
            for number in inner.get("items") or inner.get("variants"):
                self.item(number, path)
        else:
            self.item(use["id"], path, use["name"])

    def struct(self, place, item):
        struct = item["inner"]["struct"]
        (shape, fields), = struct["kind"].items() if isinstance(struct["kind"], dict) else [("unit", None)]
        line = f"struct {place}{self.generics(struct['generics'])}"
        if shape == "tuple":
            line += "(" + ", ".join("_" if number is None else self.type(self.index[number]["inner"]["struct_field"]) for number in fields) + ")"
        self.lines.add(line + self.mark(item))
        for number in fields["fields"] if shape == "plain" else ():
            self.lines.add(f"{place}.{self.index[number]['name']}: {self.type(self.index[number]['inner']['struct_field'])}")
        self.impls(place, struct["impls"])

    def enum(self, place, item):
        enum = item["inner"]["enum"]
        self.lines.add(f"enum {place}{self.generics(enum['generics'])}{self.mark(item)}")
        for number in enum["variants"]:
            self.item(number, place)
        self.impls(place, enum["impls"])

    def variant(self, place, item):
        kind = item["inner"]["variant"]["kind"]
        of = lambda number: "_" if number is None else self.type(self.index[number]["inner"]["struct_field"])
        if kind == "plain":
            fields = ""
        elif "tuple" in kind:
            fields = "(" + ", ".join(map(of, kind["tuple"])) + ")"
        else:
            fields = " { " + ", ".join(f"{self.index[number]['name']}: {of(number)}" for number in kind["struct"]["fields"]) + " }"
        self.lines.add(place + fields + self.mark(item))

    def function(self, place, item):
        function = item["inner"]["function"]
        header, sig = function["header"], function["sig"]
        words = "".join(f"{word} " for word in ("const", "unsafe", "async") if header[f"is_{word}"])
        inputs = ", ".join(self.argument(name, type) for name, type in sig["inputs"])
        output = f" -> {self.type(sig['output'])}" if sig["output"] else ""
        self.lines.add(f"{words}fn {place}{self.generics(function['generics'])}({inputs}){output}{self.where(function['generics'])}")

    def trait(self, place, item):
        trait = item["inner"]["trait"]
        self.lines.add(f"trait {place}{self.generics(trait['generics'])}{self.bounds(trait['bounds'])}{self.where(trait['generics'])}")
        for number in trait["items"]:
            member = self.index[number]
            given = " (provided)" if member["inner"].get("function", {}).get("has_body") else ""
            before = set(self.lines)
            self.item(number, place)
            for line in self.lines - before:
                self.lines = (self.lines - {line}) | {line + given}

    def type_alias(self, place, item):
        alias = item["inner"]["type_alias"]
        self.lines.add(f"type {place}{self.generics(alias['generics'])} = {self.type(alias['type'])}")

    def constant(self, place, item):
        constant = item["inner"]["constant"]
        self.lines.add(f"const {place}: {self.type(constant['type'])} = {constant['const']['value'] or '_'}")

    def assoc_const(self, place, item):
        self.lines.add(f"const {place}: {self.type(item['inner']['assoc_const']['type'])}")

    def assoc_type(self, place, item):
        type = item["inner"]["assoc_type"]
        self.lines.add(f"type {place}{self.bounds(type['bounds'])}" + (f" = {self.type(type['type'])}" if type["type"] else ""))

    def static(self, place, item):
        self.lines.add(f"static {place}: {self.type(item['inner']['static']['type'])}")

    def macro(self, place, item):
        self.lines.add(f"macro {place}!")

    def impls(self, place, numbers):
        for number in numbers:
            impl = self.index[number]["inner"]["impl"]
            if impl["blanket_impl"] or impl["is_synthetic"]:
                # Send and Sync are lost or won by a private field.
                if impl["is_synthetic"] and impl["trait"]["path"] in ("Send", "Sync", "Unpin"):
                    self.lines.add(f"impl {'!' if impl['is_negative'] else ''}{impl['trait']['path']} for {place}")
                continue
            if impl["trait"] is None:
                for item in impl["items"]:
                    self.item(item, place)
            elif self.path(impl["trait"]) not in ANYWAY:
                types = [f"{self.index[item]['name']} = {self.type(self.index[item]['inner']['assoc_type']['type'])}"
                         for item in impl["items"] if "assoc_type" in self.index[item]["inner"]]
                given = f" ({', '.join(types)})" if types else ""
                self.lines.add(f"impl{self.generics(impl['generics'])} {self.path(impl['trait'])} for {place}"
                               f"{self.arguments(next(iter(impl['for'].values()))) if 'resolved_path' in impl['for'] else ''}"
                               f"{self.where(impl['generics'])}{given}")

    # Parts of lines.

    @staticmethod
    def mark(item):
        # As "#[non_exhaustive]", or as a word, by the age of the compiler.
        return " (non_exhaustive)" if "non_exhaustive" in json.dumps(item["attrs"]) else ""

    def argument(self, name, type):
        if name != "self":
            return f"{name}: {self.type(type)}"
        if type == {"generic": "Self"}:
            return "self"
        of = type.get("borrowed_ref")
        if of and of["type"] == {"generic": "Self"}:
            return f"&{of['lifetime'] + ' ' if of['lifetime'] else ''}{'mut ' if of['is_mutable'] else ''}self"
        return f"self: {self.type(type)}"

    def path(self, path):
        return path["path"].split("::")[-1] + self.arguments(path)

    def arguments(self, path):
        args = path.get("args")
        if not args:
            return ""
        if "parenthesized" in args:
            inside = args["parenthesized"]
            output = f" -> {self.type(inside['output'])}" if inside["output"] else ""
            return "(" + ", ".join(map(self.type, inside["inputs"])) + ")" + output
        inside = args["angle_bracketed"]
        parts = [self.part(part) for part in inside["args"]]
        for constraint in inside["constraints"]:
            (kind, value), = constraint["binding"].items()
            told = f" = {self.term(value)}" if kind == "equality" else self.bounds(value)
            parts.append(constraint["name"] + told)
        return f"<{', '.join(parts)}>" if parts else ""

    def part(self, part):
        if part == "infer":
            return "_"
        (kind, value), = part.items()
        return {"lifetime": lambda: value, "type": lambda: self.type(value), "const": lambda: value["expr"]}[kind]()

    def term(self, term):
        return self.type(term["type"]) if "type" in term else term["constant"]["expr"]

    def bounds(self, bounds):
        told = []
        for bound in bounds:
            if "outlives" in bound:
                told.append(bound["outlives"])
            elif "trait_bound" in bound:
                of = bound["trait_bound"]
                told.append(("?" if of["modifier"] == "maybe" else "") + self.forall(of["generic_params"]) + self.path(of["trait"]))
            else:
                told.append("use<…>")
        return ": " + " + ".join(told) if told else ""

    @staticmethod
    def forall(params):
        return f"for<{', '.join(param['name'] for param in params)}> " if params else ""

    def generics(self, generics):
        told = []
        for param in generics["params"]:
            (kind, value), = param["kind"].items()
            if kind == "lifetime":
                told.append(param["name"] + (": " + " + ".join(value["outlives"]) if value["outlives"] else ""))
            elif kind == "const":
                told.append(f"const {param['name']}: {self.type(value['type'])}")
            elif not value["is_synthetic"]:
                told.append(param["name"] + self.bounds(value["bounds"]) + (f" = {self.type(value['default'])}" if value["default"] else ""))
        return f"<{', '.join(told)}>" if told else ""

    def where(self, generics):
        told = []
        for predicate in generics["where_predicates"]:
            (kind, value), = predicate.items()
            if kind == "bound_predicate":
                told.append(self.forall(value["generic_params"]) + self.type(value["type"]) + self.bounds(value["bounds"]))
            elif kind == "lifetime_predicate":
                told.append(f"{value['lifetime']}: {' + '.join(value['outlives'])}")
            else:
                told.append(f"{self.type(value['lhs'])} = {self.term(value['rhs'])}")
        return f" where {', '.join(told)}" if told else ""

    def type(self, type):
        if type == "infer":
            return "_"
        (kind, value), = type.items()
        match kind:
            case "resolved_path":
                return self.path(value)
            case "generic" | "primitive":
                return value
            case "tuple":
                return "(" + ", ".join(map(self.type, value)) + ("," if len(value) == 1 else "") + ")"
            case "slice":
                return f"[{self.type(value)}]"
            case "array":
                return f"[{self.type(value['type'])}; {value['len']}]"
            case "borrowed_ref":
                lifetime = value["lifetime"] + " " if value["lifetime"] else ""
                return f"&{lifetime}{'mut ' if value['is_mutable'] else ''}{self.type(value['type'])}"
            case "raw_pointer":
                return f"*{'mut' if value['is_mutable'] else 'const'} {self.type(value['type'])}"
            case "impl_trait":
                return "impl" + self.bounds(value)[1:]
            case "dyn_trait":
                told = [self.forall(of["generic_params"]) + self.path(of["trait"]) for of in value["traits"]]
                return "dyn " + " + ".join(told + ([value["lifetime"]] if value["lifetime"] else []))
            case "qualified_path":
                of = f" as {self.path(value['trait'])}" if value["trait"] else ""
                return f"<{self.type(value['self_type'])}{of}>::{value['name']}"
            case "function_pointer":
                sig = value["sig"]
                output = f" -> {self.type(sig['output'])}" if sig["output"] else ""
                return f"{self.forall(value['generic_params'])}fn({', '.join(self.type(type) for _, type in sig['inputs'])}){output}"
        raise SystemExit(f"a type of kind {kind} is not known here")


def main():
    update = sys.argv[1:2] == ["--update"]
    file, kept = sys.argv[1 + update:]
    listing, kept = Crate(file).listing(), pathlib.Path(kept)
    assert listing.count("\n") > 10, f"{file}: hardly anything is public"
    if update:
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(listing)
        return
    before = kept.read_text() if kept.exists() else ""
    changes = list(difflib.unified_diff(before.splitlines(), listing.splitlines(), str(kept), "the sources", n=0, lineterm=""))
    print(*changes[:200], sep="\n", end="\n" if changes else "")
    if changes:
        sys.exit(f"{kept}: the public interface has changed. If that is meant: UPDATE_API=1 bash .ci/run api")
    print(f"{kept}: {before.count(chr(10))} lines, as the sources have them")


main()
