"""Evaluation sets that nothing made here may give away, and whether a text does.

Texts are compared as letters: NFKC, lower case, without spaces and punctuation. An item of fewer than `ngram` letters must stand in
the text as a whole; one of fewer than `least_letters`, which would be found inside anything, as a sentence by itself. Of a longer one, the share of its letters counts that are in n-grams which the text has, too: one n-gram in
common is an idiom, half the item is the item. Wording that many items share is no evidence for any of them.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pyarrow.parquet as pq
from bunbuku_contracts import BunbukuError, Config
from pydantic import Field, PositiveInt

from bunbuku_synth.language import normalized

_SENTENCE_END = re.compile(r"[。．.！!？?\n「」『』]+")


class Exam(Config):
    """One way to read the items of a file: JSON Lines or Parquet."""

    file: str
    """The name that `--exams NAME=PATH` gives it."""
    fields: Annotated[tuple[str, ...], Field(min_length=1)] = ("question",)
    """Whose texts are an item, one after another; lists of texts are joined. A dotted name reaches into nested objects."""


class Evidence(Config):
    """What shows that a text gives an item away."""

    ngram: PositiveInt = 13
    """Letters in an n-gram, and from which an item is long."""
    coverage: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of a long item that must be in the text."""
    least_letters: PositiveInt = 6
    """Shorter items are found only where they are a whole sentence, or as many sentences as they are themselves."""
    shared_by: PositiveInt = 20
    """N-grams of more items than so many are the set's own wording."""


@dataclass(frozen=True, slots=True)
class ExamItem:
    """A question that must not be given away."""

    exam: str
    number: int
    text: str

    @property
    def name(self) -> str:
        """File and place."""
        return f"{self.exam}:{self.number}"


class Decontamination:
    """Items made ready to be looked for."""

    def __init__(self, items: Iterable[ExamItem], evidence: Evidence) -> None:
        self._evidence = evidence
        self._whole: dict[int, dict[str, str]] = {}
        self._alone: dict[tuple[str, ...], str] = {}
        self._long: list[tuple[str, int]] = []
        self._grams: dict[str, list[tuple[int, int]]] = {}
        self.too_short = 0
        """Items that cannot be looked for: without letters, or without wording of their own."""
        items = list(items)
        letters = {item.name: normalized(item.text) for item in items}
        common = self._common(letters.values())
        for item in items:
            name, text = item.name, letters[item.name]
            if not text:
                self.too_short += 1
            elif len(text) < evidence.least_letters:
                self._alone.setdefault(_sentences(item.text), name)
            elif len(text) < evidence.ngram:
                self._whole.setdefault(len(text), {}).setdefault(text, name)
            else:
                self._add(name, text, common)

    def found(self, text: str) -> str | None:
        """The name of an item that a text gives away."""
        if name := self._found_alone(text):
            return name
        letters = normalized(text)
        for length, items in self._whole.items():
            for at in range(len(letters) - length + 1):
                if name := items.get(letters[at : at + length]):
                    return name
        n = self._evidence.ngram
        places: dict[int, set[int]] = {}
        for gram in {letters[at : at + n] for at in range(len(letters) - n + 1)} & self._grams.keys():
            for item, place in self._grams[gram]:
                places.setdefault(item, set()).add(place)
        for item in sorted(places):
            name, length = self._long[item]
            if _covered(places[item], n) >= self._evidence.coverage * length:
                return name
        return None

    def _found_alone(self, text: str) -> str | None:
        if not self._alone:
            return None
        said = _sentences(text)
        for length in sorted({len(item) for item in self._alone}):
            for at in range(len(said) - length + 1):
                if name := self._alone.get(said[at : at + length]):
                    return name
        return None

    def _common(self, texts: Iterable[str]) -> frozenset[str]:
        n = self._evidence.ngram
        seen = Counter(gram for text in texts for gram in {text[at : at + n] for at in range(len(text) - n + 1)})
        return frozenset(gram for gram, times in seen.items() if times > self._evidence.shared_by)

    def _add(self, name: str, text: str, common: frozenset[str]) -> None:
        n = self._evidence.ngram
        places = [at for at in range(len(text) - n + 1) if text[at : at + n] not in common]
        length = _covered(places, n)
        if length < self._evidence.least_letters:
            self.too_short += 1
            return
        for place in places:
            self._grams.setdefault(text[place : place + n], []).append((len(self._long), place))
        self._long.append((name, length))


def read_exams(exams: Sequence[Exam], files: Mapping[str, Path]) -> list[ExamItem]:
    """The items of all evaluation sets.

    Raises:
        BunbukuError: A set names no file, or a file has no such field.
    """
    if unread := sorted(files.keys() - {exam.file for exam in exams}):
        exams = (*exams, *(Exam(file=name) for name in unread))
    found: list[ExamItem] = []
    for exam in exams:
        if exam.file not in files:
            raise BunbukuError(
                f"the config reads the evaluation set {exam.file!r}, which was not given",
                hint=f"give --exams {exam.file}=PATH",
            )
        for number, row in enumerate(_rows(files[exam.file]), start=1):
            text = "\n".join(_text(row, field, files[exam.file]) for field in exam.fields)
            found.append(ExamItem(f"{exam.file}[{','.join(exam.fields)}]", number, text))
    return found


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as shard:
            for batch in shard.iter_batches():
                yield from batch.to_pylist()
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise BunbukuError(f"{path}:{number} is not JSON: {error}", hint="an item is a line") from error


def _text(row: Mapping[str, Any], field: str, path: Path) -> str:
    value: Any = row
    for part in [field] if field in row else field.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = "\n".join(one for one in value if isinstance(one, str))
    if not isinstance(value, str):
        raise BunbukuError(
            f"{path} has no text in {field!r}; its fields are {', '.join(sorted(row))}", hint="correct `fields`"
        )
    return value


def _sentences(text: str) -> tuple[str, ...]:
    r"""The letters of each sentence, line and quotation.

    >>> _sentences("「国は？」と聞く。\n国です")
    ('国は', 'と聞く', '国です')
    """
    return tuple(letters for part in _SENTENCE_END.split(text) if (letters := normalized(part)))


def _covered(places: Iterable[int], n: int) -> int:
    """Letters that n-grams at these places cover.

    >>> _covered([0, 1, 20], 13)
    27
    """
    covered = reached = 0
    for place in sorted(places):
        covered += place + n - max(place, reached)
        reached = place + n
    return covered
