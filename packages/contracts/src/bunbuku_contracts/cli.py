"""Command lines, derived from stages so that no package writes one by hand.

    main = stage_cli(clean, dedup)          # a package's whole cli.py

    bunbuku-corpus dedup dedup.toml --corpus runs/clean --out runs/dedup --set threshold=0.8

The options are closed: CONFIG, one `--<role>` an input, `--out`, `--run`, `--set`, `--verify`. A new knob is a new field
of the config or of the run settings, never a new flag. Standard output is the published path and nothing else.
"""

import argparse
import contextlib
import inspect
import logging
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from bunbuku_contracts.artifact import MANIFEST, Artifact
from bunbuku_contracts.errors import BunbukuError
from bunbuku_contracts.manifest import Manifest, RunSettings
from bunbuku_contracts.roles import Role, Signature, flatten, resolve
from bunbuku_contracts.settings import read_settings
from bunbuku_contracts.stage import Stage, View

stderr = Console(stderr=True, highlight=False, soft_wrap=True)

type Command = Stage[Any, Any, ...] | View[...]


def stage_cli(*commands: Command) -> Callable[[Sequence[str] | None], int]:
    """A console-script entry point with one subcommand a stage or view."""

    def main(argv: Sequence[str] | None = None) -> int:
        parser = argparse.ArgumentParser(
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog="Every command teaches itself: STAGE --help. `bunbuku tree DIR` shows where an artifact came from.",
        )
        options = parser.add_subparsers(required=True, metavar="STAGE", dest="stage")
        for command in commands:
            _add(options, command)
        args = parser.parse_args(argv)
        with shown_errors() as status:
            _run(args)
        return status[0]

    return main


@contextlib.contextmanager
def shown_errors() -> Generator[list[int]]:
    """Show a `BunbukuError` as one sentence with its remedy; the list's one item becomes the exit status."""
    status = [0]
    handler = _handler()
    root = logging.getLogger()
    for package in {name.partition(".")[0] for name in sys.modules if name.startswith("bunbuku_")}:
        logging.getLogger(package).setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        yield status
    except BunbukuError as error:
        stderr.print(f"[bold red]error:[/] {escape(str(error))}")
        if error.hint:
            stderr.print(f"[bold]hint:[/]  {escape(error.hint)}")
        status[0] = error.status
    except KeyboardInterrupt:
        stderr.print("[bold]interrupted[/]: nothing was published; the same command starts again, or goes on")
        status[0] = 130
    finally:
        root.removeHandler(handler)


def _handler() -> logging.Handler:
    """Coloured lines on a terminal; plain ones, as long as they are, in a file."""
    if stderr.is_terminal:
        return RichHandler(console=stderr, show_path=False, show_level=False, markup=False)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    return handler


def _run(args: argparse.Namespace) -> None:
    command: Command = args.command
    signature = command.signature
    config = read_settings(signature.config, args.config, args.set)
    run = read_settings(signature.run, args.run)
    given = {name: resolve(role, getattr(args, name)) for name, role in signature.roles.items()}
    if args.verify:
        for one in flatten(given).values():
            if isinstance(one, Artifact):
                one.verify()
    settings = {} if signature.run is RunSettings else {"run": run}
    if isinstance(command, View):
        command(config, **given, **settings)
        return
    print(_make(command, args.out, config, given | settings).dir)


def _make(stage: Stage[Any, Any, ...], out: Path, config: BaseModel, given: dict[str, Any]) -> Artifact[Any]:
    there = (out / MANIFEST).exists()
    clock = time.perf_counter()
    artifact = stage(out, config, **given)
    how = "is up to date" if there else f"made in {time.perf_counter() - clock:.1f} s"
    stderr.print(f"[bold]{stage.name}[/] {how}: {escape(size(artifact.manifest))}")
    return artifact


def size(manifest: Manifest[Any]) -> str:
    """Rows, tokens and bytes, as far as there are any."""
    parts = [f"{manifest.rows:,} rows"] * bool(manifest.rows) + [f"{manifest.tokens:,} tokens"] * bool(manifest.tokens)
    return ", ".join([*parts, f"{manifest.bytes:,} bytes"])


def _add(options: Any, command: Command) -> None:
    doc = inspect.cleandoc(command.body.__doc__ or "")
    signature = command.signature
    parser = options.add_parser(
        command.name.rpartition(".")[2],
        help=doc.partition("\n")[0],
        description=doc,
        epilog=_fields(signature),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    config_help = "a TOML file of the config fields below; all defaults without one"
    parser.add_argument("config", type=Path, metavar="CONFIG", nargs="?", help=config_help)
    for role in signature.roles.values():
        _add_role(parser, role)
    if isinstance(command, Stage):
        made = f"where the {command.spec.kind} artifact goes"
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=made)
    run_help = "a TOML file of run settings: workers, devices, engines; recorded, never part of the recipe"
    parser.add_argument("--run", type=Path, metavar="RUN", help=run_help)
    set_help = "override a config field; a.b=1 reaches into tables, filters.0.min_chars=20 into lists"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=set_help)
    parser.add_argument("--verify", action="store_true", help="rehash every file of the inputs first")
    parser.set_defaults(command=command)


def _add_role(parser: argparse.ArgumentParser, role: Role) -> None:
    parser.add_argument(
        role.option,
        action="append",
        default=[],
        required=not role.optional and not role.many,
        metavar="NAME=DIR" if role.many else "PATH" if role.spec is None else "DIR",
        help=role.what + (" (optional)" if role.optional or role.many else ""),
        dest=role.name,
    )


def _fields(signature: Signature) -> str:
    """The config's and the run settings' fields, defaults and documentation, for `--help`."""
    blocks = [("config fields", signature.config), ("run settings", signature.run)]
    return "\n\n".join(f"{title}:\n{lines}" for title, cls in blocks if (lines := _field_lines(cls)))


def _field_lines(cls: type[BaseModel]) -> str:
    lines: list[str] = []
    for name, field in cls.model_fields.items():
        default = field.get_default(call_default_factory=False)
        shown = "required" if field.is_required() or default is PydanticUndefined else f"default {_brief(default)}"
        about = " ".join((field.description or "").split())
        lines.append(f"  {name}  ({shown})" + (f"\n      {about}" if about else ""))
    return "\n".join(lines)


def _brief(value: Any) -> str:
    text = repr(value.model_dump(mode="json") if isinstance(value, BaseModel) else value)
    return text if len(text) <= 72 else text[:71] + "…"
