"""What a signature says: a stage's or a view's inputs, each with its name and kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from bunbuku_contracts.artifact import Artifact, load
from bunbuku_contracts.digest import hash_tree
from bunbuku_contracts.errors import ConfigError
from bunbuku_contracts.manifest import Config, RunSettings, Spec

type One = Artifact[Any] | Path
type Given = One | Mapping[str, One] | None
"""What is given for a role: an artifact, a path from outside, several by name, or nothing."""


@dataclass(frozen=True)
class Role:
    """One input."""

    name: str
    spec: type[Spec] | None
    """Kind of artifact, `Spec` for any; `None` for a path from outside the pipeline."""
    many: bool = False
    optional: bool = False

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def what(self) -> str:
        """What to give, for the command line's help."""
        if self.spec is None:
            return "a file or folder from outside the pipeline"
        kind = "an artifact of any kind" if self.spec is Spec else f"a {self.spec.kind} artifact"
        return f"{kind}; several, each NAME=DIR" if self.many else f"{kind}; DIR#part for one part of it"


@dataclass(frozen=True)
class Signature:
    """What a body takes besides its draft, and what it returns."""

    config: type[Config]
    roles: dict[str, Role]
    run: type[RunSettings]
    made: Any

    @classmethod
    def of(cls, body: Callable[..., Any]) -> "Signature":
        """Read it off the annotations.

        Raises:
            TypeError: A parameter is neither an artifact, nor a path, nor one of `draft`, `config` and `run`.
        """
        hints = get_type_hints(body)
        made = hints.pop("return", None)
        hints.pop("draft", None)
        config = hints.pop("config", Config)
        run = hints.pop("run", RunSettings)
        return cls(config, {name: _role(name, hint) for name, hint in hints.items()}, run, made)


def _role(name: str, hint: Any) -> Role:
    if get_origin(hint) in (Union, UnionType):
        kinds = [arm for arm in get_args(hint) if arm is not type(None)]
        if len(kinds) == 1:
            plain = _role(name, kinds[0])
            return Role(name, plain.spec, plain.many, optional=True)
    if get_origin(hint) is dict:
        return Role(name, _role(name, get_args(hint)[1]).spec, many=True)
    if hint is Path:
        return Role(name, None)
    if get_origin(hint) is Artifact:
        return Role(name, get_args(hint)[0])
    raise TypeError(f"`{name}: {hint}` is no role: annotate it as an Artifact, a dict of them, or a Path")


def flatten(given: Mapping[str, Given]) -> dict[str, One]:
    """Every single input under its name, `role.name` where a role takes many; what was not given is left out."""
    flat: dict[str, One] = {}
    for role, value in given.items():
        if isinstance(value, Mapping):
            flat |= {f"{role}.{name}": one for name, one in value.items()}
        elif value is not None:
            flat[role] = value
    return flat


def named(one: One) -> str:
    """What was given, by content."""
    if isinstance(one, Path):
        return hash_tree(one)
    return one.content + (f"#{one.part}" if one.part else "")


def place(one: One) -> Path:
    return one if isinstance(one, Path) else one.dir


def resolve(role: Role, texts: list[str]) -> Given:
    """What the command line's texts for `role` stand for.

    Raises:
        ConfigError: Too many, or one without the name it needs.
        ArtifactError: It is not there, or of another kind.
    """
    if role.many:
        return {name: _one(role, text) for name, text in (_split(role, text) for text in texts)}
    if len(texts) > 1:
        raise ConfigError(f"{role.option} was given {len(texts)} times", hint="it takes one")
    return _one(role, texts[0]) if texts else None


def _split(role: Role, text: str) -> tuple[str, str]:
    name, equals, where = text.partition("=")
    if not equals or not name:
        hint = f"name it, for example {role.option} first={text}"
        raise ConfigError(f"{role.option} {text!r} is not NAME=DIR", hint=hint)
    return name, where


def _one(role: Role, text: str) -> One:
    if role.spec is None:
        path = Path(text)
        if not path.exists():
            raise ConfigError(f"{role.option}: there is nothing at {text!r}", hint="give the path of a file or folder")
        return path
    where, _, part = text.partition("#")
    return load(Path(where), role.spec, part=part or None)
