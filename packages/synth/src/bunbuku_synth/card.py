"""The view `card`: a data card of what was made, in Markdown, from the artifact and the manifests that travel in it.

Nothing of it is written by hand but what nobody could compute: the terms under which a teacher's text may be used.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, ArtifactError, Config, Spec, lineage, view
from pydantic import Field, NonNegativeInt
from rich.console import Console

_console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
KINDS = {"dialogues": "dialogues", "preferences": "preferences", "corpus": "documents"}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_SHOWN = 400


class CardConfig(Config):
    """What the card says that the artifact does not."""

    title: str | None = None
    """The folder's name, if nothing is said."""
    about: str | None = None
    """A paragraph at the head."""
    teacher_terms: dict[str, str] = Field(default_factory=dict[str, str])
    """Of each teacher, by its name in the column `teacher` or the beginning of it: the terms its text may be used under."""
    samples: NonNegativeInt = 2
    """Of each task, shown whole up to 400 characters a turn."""


@dataclass
class _Read:
    """What the rows say."""

    rows: int = 0
    tasks: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """By task and language."""
    letters: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    makers: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """By generator and teacher."""
    licences: Counter[str] = field(default_factory=Counter[str])
    samples: dict[str, list[str]] = field(default_factory=dict[str, list[str]])


@view("synth.card")
def card(config: CardConfig, made: Artifact[Spec]) -> None:
    """Print a data card of dialogues, preferences or what `render` made of them.

    Where it came from, with licences; who wrote it, and under which terms; how many items of each task; with which filters,
    and how many were turned down for which reason; some samples. In the form that the Hugging Face hub reads: write it to
    README.md beside the data. A teacher without terms is named as such: look them up, and give them in `teacher_terms`.
    """
    _console.print("\n".join(written(config, made)))


def written(config: CardConfig, made: Artifact[Any]) -> Iterator[str]:
    """The lines of the card."""
    kind = KINDS.get(made.manifest.kind)
    if kind is None:
        raise ArtifactError(
            f"{made.dir} is a {made.manifest.kind!r}", hint=f"a card is made of {', '.join(map(repr, KINDS))}"
        )
    read = _read(made, config.samples)
    recipe, run = made.manifest.recipe, made.manifest.run
    yield from _head(made, read)
    yield f"# {config.title or made.dir.resolve().name}\n"
    if config.about:
        yield f"{config.about}\n"
    yield f"{read.rows:,} {kind}, made by `{recipe.stage}` of {run.package} {run.version}. Content: `{made.content}`.\n"
    yield "## Sources\n"
    yield from _table(("artifact", "stage", "licences", "content"), _sources(made))
    yield "## Who wrote it\n"
    yield from _table(("generator", "teacher", "items", "terms"), _makers(config, made, read))
    yield "## What is in it\n"
    yield from _table(("task", "language", "items", "characters"), _tasks(read))
    yield from _table(("licence", "items"), sorted(read.licences.items()))
    yield "## What was turned down\n"
    yield from _table(("artifact", "reason", "items"), _dropped(made)) or ("Nothing that is known of.\n",)
    yield "## How it was made\n"
    yield from _asked(made)
    if read.samples:
        yield "## Samples\n"
        for task, samples in sorted(read.samples.items()):
            yield from (f"`{task}`\n", *samples)


def _read(made: Artifact[Any], samples: int) -> _Read:
    read = _Read()
    for file in made.files():
        for batch in pq.ParquetFile(made.path(file)).iter_batches(batch_size=1000):
            for row in batch.to_pylist():
                _add(read, row, samples)
    return read


def _add(read: _Read, row: dict[str, Any], samples: int) -> None:
    turns = _turns(row)
    task = row.get("task") or row["source"]
    at = (task, row["language"])
    read.rows += 1
    read.tasks[at] += 1
    read.letters[at] += sum(len(said) for _, said in turns)
    read.licences[row["licence"]] += 1
    if "generator" in row:
        read.makers[row["generator"], row.get("teacher") or row.get("rejected_by") or "-"] += 1
    shown = read.samples.setdefault(task, []) if samples else []
    if len(shown) < samples:
        shown.append("".join(f"> **{who}**: {_quoted(said)}\n>\n" for who, said in turns))


def _turns(row: dict[str, Any]) -> list[tuple[str, str]]:
    if "text" in row:
        return [("text", row["text"])]
    turns = [(turn["role"], turn["content"]) for turn in row.get("messages") or row["prompt"]]
    return turns + [(side, row[side]) for side in ("chosen", "rejected") if side in row]


def _quoted(said: str) -> str:
    cut = said if len(said) <= _SHOWN else said[:_SHOWN] + "…"
    return cut.replace("\n", "\n> ")


def _head(made: Artifact[Any], read: _Read) -> Iterator[str]:
    """What the hub reads; JSON is YAML."""
    size = next((name for most, name in _SIZES if read.rows < most), "n>1M")
    fields = {
        "language": sorted({language for _, language in read.tasks}),
        "license": "other",
        "license_name": ", ".join(made.manifest.spec.licences) or "unknown",
        "size_categories": [size],
        "tags": ["synthetic", "bunbuku"],
    }
    yield from ("---", *(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()), "---")


def _sources(made: Artifact[Any]) -> list[Sequence[object]]:
    found = {node.named: node for node in lineage(made).walk() if node.role}
    return [
        (node.manifest.kind, node.manifest.recipe.stage, ", ".join(node.manifest.spec.licences) or "-", named[:12])
        if node.manifest
        else (Path(node.dir).name, "from outside", "-", named[:12])
        for named, node in found.items()
    ]


def _makers(config: CardConfig, made: Artifact[Any], read: _Read) -> list[Sequence[object]]:
    configs = (node.manifest.recipe.config for node in lineage(made).walk() if node.manifest)
    licences = sorted({str(licence) for config in configs if (licence := config.get("teacher_licence"))})
    rows: list[Sequence[object]] = []
    for (generator, teacher), count in sorted(read.makers.items()):
        terms = [said for name, said in config.teacher_terms.items() if teacher.startswith(name)]
        if generator != "teacher":
            terms = terms or ["made by rule"]
        elif licences and not terms:
            terms = [f"licence {', '.join(licences)}; terms not given"]
        rows.append((generator, teacher, count, terms[0] if terms else "not given"))
    return rows


def _tasks(read: _Read) -> list[Sequence[object]]:
    return [
        (task, language, count, read.letters[task, language]) for (task, language), count in sorted(read.tasks.items())
    ]


def _dropped(made: Artifact[Any]) -> list[Sequence[object]]:
    """From the part `dropped` of this artifact, and from what earlier stages counted."""
    here: Counter[str] = Counter()
    if "dropped" in made.manifest.parts:
        for file in made.files("dropped"):
            reasons = pq.read_table(made.path(file), columns=["reason"])["reason"].to_pylist()
            here.update(reason.partition(" ")[0] for reason in reasons)
    rows: list[Sequence[object]] = [("this one", reason, count) for reason, count in here.most_common()]
    for manifest in {
        node.named: node.manifest for node in lineage(made).walk() if node.role and node.manifest
    }.values():
        counted = {
            name.partition(".")[2]: value
            for name, value in manifest.metrics.items()
            if name.startswith(("dropped.", "rejected.")) and value
        }
        rows += [(manifest.recipe.stage, reason, round(value)) for reason, value in sorted(counted.items())]
    return rows


def _asked(made: Artifact[Any]) -> Iterator[str]:
    """The configs of this package's stages on the way here, the last one first."""
    seen: set[str] = set()
    for node in lineage(made).walk():
        if node.manifest and node.named not in seen and node.manifest.recipe.stage.startswith("synth."):
            seen.add(node.named)
            config = json.dumps(node.manifest.recipe.config, ensure_ascii=False, indent=1)
            yield f"`{node.manifest.recipe.stage}`, revision {node.manifest.recipe.revision}\n\n```json\n{config}\n```\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    rows = list(rows)
    if not rows:
        return []
    lines = [columns, ["---"] * len(columns), *rows]
    return [*("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines), ""]


def _cell(value: object) -> str:
    told = f"{value:,}" if isinstance(value, int) else str(value)
    return told.replace("|", "\\|").replace("\n", " ")
