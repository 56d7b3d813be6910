"""The exact command that makes each artifact again, as its manifest tells it."""

import shlex
from collections.abc import Mapping

from bunbuku_eval.ancestry import Ancestry, Entry
from bunbuku_eval.toml import dumps


def command(entry: Entry, places: Mapping[str, str]) -> str:
    """Shell lines that make `entry` again: its config as a file, then the stage.

    Settings of the run (threads, engines, layout) are written out as they were, since a stage that is not bit for bit
    reproducible depends on them. What a long stage published on its way is made by that stage's own command.
    """
    if entry.manifest is None:
        return ""
    recipe, run = entry.manifest.recipe, entry.manifest.run
    out = places[entry.key]
    if recipe.milestone:
        out = out.removesuffix(f"@{recipe.milestone}")
    stem = out.rpartition("/")[2]
    words = [run.package, recipe.stage.rpartition(".")[2]]
    lines: list[str] = []
    if config := dumps(recipe.config):
        lines.append(_file(f"{stem}.toml", config))
        words.append(f"{stem}.toml")
    for one in entry.inputs:
        role, _, name = one.role.partition(".")
        where = places[one.key] + (f"#{one.part}" if one.part else "")
        words += ["--" + role.replace("_", "-"), f"{name}={where}" if name else where]
    words += ["--out", out]
    if settings := dumps(run.settings):
        lines.append(_file(f"{stem}.run.toml", settings))
        words += ["--run", f"{stem}.run.toml"]
    return "".join([*lines, _wrapped([shlex.quote(word) for word in words])])


def script(ancestry: Ancestry, places: Mapping[str, str]) -> str:
    """Every command, each after those that make its inputs; what one run published on its way comes once."""
    texts = dict.fromkeys(command(entry, places) for entry in ancestry if entry.manifest)
    return "\n".join(texts)


def _file(name: str, text: str) -> str:
    return f"cat > {shlex.quote(name)} <<'TOML'\n{text}TOML\n"


def _wrapped(words: list[str], *, width: int = 110) -> str:
    lines, line = [], words[0]
    for word in words[1:]:
        if len(line) + len(word) + 1 > width and word.startswith("--"):
            lines.append(line + " \\")
            line = "    " + word
        else:
            line += " " + word
    return "\n".join([*lines, line]) + "\n"
