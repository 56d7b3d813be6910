"""Look at artifacts, whatever their kind: show, verify, tree, diff, gc, migrate, schema."""

import argparse
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from bunbuku_contracts.artifact import Artifact, load
from bunbuku_contracts.cli import shown_errors, size
from bunbuku_contracts.draft import clear_errors, is_locked
from bunbuku_contracts.errors import ConfigError
from bunbuku_contracts.kinds import KINDS
from bunbuku_contracts.lineage import Node, lineage
from bunbuku_contracts.manifest import Manifest, Spec
from bunbuku_contracts.migrate import migrate
from bunbuku_contracts.stage import changed_leaves

_LEFTOVER = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{12}\.(draft|scratch)")

_LINE = 500
"""Columns where there is no terminal: a tree in a file is not cut."""

console = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else _LINE)


def main(argv: Sequence[str] | None = None) -> int:
    """The `bunbuku` command."""
    args = _parser().parse_args(argv)
    with shown_errors() as status:
        args.action(args)
    return status[0]


def show(args: argparse.Namespace) -> None:
    """Print an artifact's manifest as JSON."""
    console.print_json(load(args.dir, Spec).manifest.model_dump_json(exclude_none=True))


def verify(args: argparse.Namespace) -> None:
    """Rehash every file of the given artifacts and compare with what was published."""
    for dir in args.dirs:
        artifact = load(dir, Spec)
        artifact.verify()
        console.print(f"{escape(str(dir))}: {len(artifact.manifest.files)} files as published")


def tree(args: argparse.Namespace) -> None:
    """Print an artifact and, under it, everything it was made from, down to what came from outside."""
    console.print(_tree(lineage(load(args.dir, Spec)), set()))


def _tree(node: Node, seen: set[str]) -> Tree:
    """One that is met again is named and not unfolded again."""
    here = Tree(escape(_label(node)))
    if node.named in seen and node.manifest and node.manifest.recipe.inputs:
        here.add("… as above")
        return here
    seen.add(node.named)
    for child in node.children():
        here.children.append(_tree(child, seen))
    return here


def _label(node: Node) -> str:
    digest, _, part = node.named.partition("#")
    what = node.manifest.kind if node.manifest else node.role
    name = f"{what}({digest[:7]}){'#' + part if part else ''}"
    if node.manifest is None:
        return f"{name}  from outside  {node.dir}"
    stage, recipe = node.manifest.recipe.stage, node.manifest.recipe
    milestone = f"@{recipe.milestone}" if recipe.milestone else ""
    where = str(node.dir) if node.found else f"{node.dir} (no longer there as it was)"
    return f"{name}  {stage}{milestone}  {size(node.manifest)}  {where}"


def diff(args: argparse.Namespace) -> None:
    """Print what two artifacts differ in: recipe, spec, metrics and files. Nothing is printed for equal ones."""
    old, new = (load(dir, Spec) for dir in (args.dir, args.other))
    for line in differing(old, new):
        console.print(escape(line))


def differing(old: Artifact[Any], new: Artifact[Any]) -> Iterator[str]:
    """Every leaf that differs between two artifacts, their runs left out."""
    yield from changed_leaves(_comparable(old.manifest), _comparable(new.manifest))


def _comparable(manifest: Manifest[Any]) -> dict[str, Any]:
    files = {file.path: f"{file.sha256[:12]} ({file.bytes:,} bytes)" for file in manifest.files if file.in_content}
    fields = manifest.model_dump(mode="json", include={"kind", "schema_version", "spec", "recipe", "metrics"})
    return {**fields, "files": {f"{path!r}": told for path, told in files.items()}}


def gc(args: argparse.Namespace) -> None:
    """Remove drafts and scratch folders that crashed runs left below a folder and that nobody is working on.

    A draft that a resumable stage would go on from is one of them: the age keeps what is recent.
    """
    kept = freed = 0
    for path in sorted(args.dir.rglob(".*")):
        if not _LEFTOVER.fullmatch(path.name) or not path.is_dir():
            continue
        age_hours = (time.time() - _newest(path)) / 3600
        if is_locked(path) or is_locked(path.with_suffix(".draft")) or age_hours < args.hours:
            kept += 1
            continue
        length = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        freed += length
        verb = "would remove" if args.dry_run else "removed"
        if not args.dry_run:
            with clear_errors(path):
                shutil.rmtree(path)
        console.print(f"{verb} {escape(str(path))}: {length:,} bytes, {age_hours:.1f} h old")
    console.print(f"{freed:,} bytes {'would be ' if args.dry_run else ''}freed; {kept} in use or too recent")


def _newest(folder: Path) -> float:
    return max(path.stat().st_mtime for path in [folder, *folder.rglob("*")])


def move(args: argparse.Namespace) -> None:
    """Bring an artifact of an older schema to the one this version reads."""
    made = migrate(args.dir)
    console.print(f"{escape(str(args.dir))} is a {made.manifest.kind!r} of schema {made.manifest.schema_version}")


def schema(args: argparse.Namespace) -> None:
    """Print the JSON Schema of a kind's manifest, for tools that are not written in Python."""
    if args.kind not in KINDS:
        raise ConfigError(f"{args.kind!r} is no kind of artifact", hint=f"the kinds are {', '.join(sorted(KINDS))}")
    described = Manifest[KINDS[args.kind]].model_json_schema(mode="serialization")
    console.print_json(json.dumps(described, ensure_ascii=False))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bunbuku", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, action: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        doc = (action.__doc__ or "").strip()
        command = commands.add_parser(name, help=doc.partition("\n")[0], description=doc)
        command.set_defaults(action=action)
        return command

    for name, action in (("show", show), ("tree", tree), ("migrate", move)):
        add(name, action).add_argument("dir", type=Path, metavar="DIR", help="an artifact")
    add("verify", verify).add_argument("dirs", type=Path, nargs="+", metavar="DIR", help="an artifact")
    compared = add("diff", diff)
    compared.add_argument("dir", type=Path, metavar="OLD", help="an artifact")
    compared.add_argument("other", type=Path, metavar="NEW", help="another")
    collected = add("gc", gc)
    collected.add_argument("dir", type=Path, metavar="DIR", help="a folder of artifacts, searched to any depth")
    collected.add_argument("--hours", type=float, default=24.0, help="leave what is younger (default 24)")
    collected.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")
    add("schema", schema).add_argument("kind", metavar="KIND", help=", ".join(sorted(KINDS)))
    return parser
