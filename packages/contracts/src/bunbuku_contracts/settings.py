"""From TOML files and `--set` overrides to validated values, with errors that name the field."""

import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from bunbuku_contracts.errors import ConfigError


def read_settings[C: BaseModel](cls: type[C], path: Path | None, overrides: Sequence[str] = ()) -> C:
    """Read a TOML file (all defaults without one), lay `key.path=value` overrides over it, and validate the whole.

    Raises:
        ConfigError: The file is missing or not TOML, or a field does not fit.
    """
    data = _read(path) if path else {}
    for override in overrides:
        _override(data, override)
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        whence = str(path) if path else "the config"
        raise ConfigError(
            f"{whence} does not fit {cls.__name__}:\n{_problems(cls, error)}", hint="--help lists every field"
        ) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no config at {str(path)!r}", hint="give the path of a TOML file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def _override(data: dict[str, Any], override: str) -> None:
    """Lay `key.path=value` over `data` in place; a number in the path is a place in a list.

    The value is read as TOML, and as a bare string where it is not TOML.
    """
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"--set {override!r} is not KEY=VALUE", hint="for example --set filters.0.min_chars=20")
    try:
        value = tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, leaf = key.split(".")
    inner: Any = data
    for parent in parents:
        inner = _step(inner, parent, override)
    _put(inner, leaf, value, override)


def _step(inner: Any, key: str, override: str) -> Any:
    if isinstance(inner, dict):
        return cast(dict[str, Any], inner).setdefault(key, {})
    return _list(inner, override)[_place(inner, key, override)]


def _put(inner: Any, key: str, value: Any, override: str) -> None:
    if isinstance(inner, dict):
        inner[key] = value
    elif key == str(len(_list(inner, override))):
        _list(inner, override).append(value)
    else:
        _list(inner, override)[_place(inner, key, override)] = value


def _list(inner: Any, override: str) -> list[Any]:
    if not isinstance(inner, list):
        raise ConfigError(f"--set {override!r} reaches into {inner!r}, which has no fields")
    return cast(list[Any], inner)


def _place(inner: Any, key: str, override: str) -> int:
    length = len(_list(inner, override))
    if not key.isdecimal() or int(key) >= length:
        raise ConfigError(f"--set {override!r}: {key!r} is no place in a list of {length}", hint="places count from 0")
    return int(key)


def _problems(cls: type[BaseModel], error: ValidationError) -> str:
    return "\n".join(f"  {_problem(cls, dict(problem))}" for problem in error.errors())


def _problem(cls: type[BaseModel], problem: dict[str, Any]) -> str:
    location = tuple(str(part) for part in problem["loc"])
    text = f"{'.'.join(location) or cls.__name__}: {problem['msg']}"
    if problem["type"] == "extra_forbidden":
        near = get_close_matches(location[-1], _field_names(cls), n=1)
        return text + (f" (did you mean {near[0]!r}?)" if near else "")
    scalar = isinstance(problem.get("input"), str | int | float | bool)
    return text + (f", not {problem['input']!r}" if scalar else "")


def _field_names(cls: type[BaseModel]) -> list[str]:
    """Names of every field of `cls` and of what it is made of."""
    schema: dict[str, Any] = cls.model_json_schema()
    parts: list[dict[str, Any]] = [schema, *schema.get("$defs", {}).values()]
    return [name for part in parts for name in part.get("properties", {})]
