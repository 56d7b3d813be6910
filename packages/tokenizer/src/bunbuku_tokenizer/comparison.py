"""What was found of one tokenizer, or of several side by side: as metrics, and as sections for readers."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from bunbuku_contracts import Curve, Picture, Section, Table
from bunbuku_contracts.page import shown

from bunbuku_tokenizer import pictures
from bunbuku_tokenizer.measurement import Counts, Measured, Text
from bunbuku_tokenizer.roundtrip import Trips
from bunbuku_tokenizer.scripts import kind_of

type Cell = str | float | int | None

_LONGEST = 12
"""Longer tokens are counted together in the histogram."""
_NAMED = 12
"""Morphemes or pieces that are named for an example."""
_MOST_SOURCES = 20


@dataclass(frozen=True)
class Comparison:
    """All that was found, by the name of the tokenizer."""

    measured: Mapping[str, Measured]
    text: Text
    random: Mapping[str, Trips]

    def single(self, name: str) -> list[bool]:
        """Which of the most frequent morphemes are single pieces of a tokenizer."""
        pieces = set(self.measured[name].reader.spellings)
        return [morpheme in pieces for morpheme in self.text.frequent]

    def metrics(self, name: str) -> dict[str, float]:
        """Numbers of one tokenizer."""
        measured, random = self.measured[name], self.random[name]
        found = {
            "unused_pieces": float(measured.unused),
            "random.texts": float(random.texts),
            "random.round_trip_failures": float(random.lost),
        }
        if self.text.frequent:
            found["morpheme_coverage"] = float(np.mean(self.single(name)))
        for label, counts in {**measured.languages, "overall": measured.overall}.items():
            found |= counts.metrics(label)
        for label, counts in _several(measured.sources).items():
            found |= counts.metrics(f"source.{label}")
        return found | measured.form.metrics("speed")

    def pictures(self) -> dict[str, tuple[str, str]]:
        """Path, caption and SVG of every picture of texts with their tokens' boundaries."""
        drawn: dict[str, tuple[str, str]] = {}
        for place, (language, cut, beginning) in enumerate(self.text.examples):
            rows = {"morphemes": pictures.marks(cut.spans)} if cut else {}
            for name, measured in self.measured.items():
                spans = measured.reader.spans(beginning)
                rows[name] = pictures.marks(zip(spans.starts, spans.ends, strict=True))
            caption = f"{language}: the beginning of a document; in red what takes several tokens"
            drawn[f"cut-{place:02}.svg"] = caption, pictures.boundaries(beginning, rows)
        return drawn

    def histogram(self) -> str:
        """How long the tokens of the text are, as SVG."""
        shares = {name: _lengths(measured) for name, measured in self.measured.items()}
        labels = ["bytes", *map(str, range(1, _LONGEST)), f"{_LONGEST}+"]
        return pictures.bars(shares, labels, x_label="characters in a token", y_label="% of the tokens")


def _lengths(measured: Measured) -> list[float]:
    counted = Counter[int]()
    for used, spelling in zip(measured.used.tolist(), measured.reader.spellings, strict=True):
        counted[min(len(spelling or ""), _LONGEST)] += used
    return [100 * counted[length] / max(counted.total(), 1) for length in range(_LONGEST + 1)]


def sections(found: Comparison) -> Iterator[Section]:
    """What people see."""
    drawn = found.pictures()
    yield Section(title="Compression and losses", paragraphs=tuple(_losses(found)), tables=tuple(compression(found)))
    if found.text.frequent or found.text.without_morphemes:
        yield _morphemes(found)
    yield Section(title="Random Unicode", tables=(_random(found),))
    yield Section(
        title="What the vocabulary is spent on",
        tables=(_spending(found), *_overlap(found)),
        curves=tuple(_used(name, measured) for name, measured in found.measured.items()),
        pictures=(Picture(path=HISTOGRAM, caption="How long the tokens of the text are"),),
    )
    if drawn:
        shown = tuple(Picture(path=path, caption=caption) for path, (caption, _) in drawn.items())
        yield Section(title="How text is cut", pictures=shown)


HISTOGRAM = "lengths.svg"


def _losses(found: Comparison) -> Iterator[str]:
    for name, measured in found.measured.items():
        yield f"{name}: {measured.problem or 'every document comes back'}"


def compression(found: Comparison) -> Iterator[Table]:
    """A table a language, one a source if there are several, and one of all documents together."""
    languages = {name: measured.languages for name, measured in found.measured.items()}
    sources = {name: _several(measured.sources) for name, measured in found.measured.items()}
    for groups, what in ((languages, "language"), (sources, "source")):
        for label in next(iter(groups.values())):
            yield _numbers({name: group[label] for name, group in groups.items()}, f"{what} {label}")
    if len(next(iter(languages.values()))) > 1:
        yield _numbers({name: measured.overall for name, measured in found.measured.items()}, "overall")


def _several(sources: Mapping[str, Counts]) -> Mapping[str, Counts]:
    """Those with the most characters, if there is more than one."""
    most = sorted(sources, key=lambda name: (-sources[name].chars, name))[:_MOST_SOURCES]
    return {name: sources[name] for name in sorted(most)} if len(sources) > 1 else {}


def _numbers(rows: Mapping[str, Counts], what: str) -> Table:
    any_counts = next(iter(rows.values()))
    return _table(
        {name: {"tokenizer": name, **_columns(counts)} for name, counts in rows.items()},
        f"{what}: {any_counts.documents:,} documents, {any_counts.chars:,} characters",
    )


def _columns(counts: Counts) -> dict[str, Cell]:
    found: dict[str, Cell] = {
        "tokens": counts.tokens,
        "characters a token": round(counts.chars_per_token, 3),
        "bytes a token": round(counts.bytes_per_token, 3),
        "bytes %": _percent(counts.byte_share),
        "comes back %": _percent(1 - counts.lost / max(counts.documents, 1)),
    }
    if counts.morphemes:
        found |= {
            "tokens a morpheme": round(counts.tokens_per_morpheme or 0.0, 3),
            "straddling %": _percent(counts.straddling_share or 0.0),
            "multiple %": _percent(counts.multiple_share or 0.0),
        }
    return found


def _percent(share: float) -> float:
    return round(100 * share, 2)


def _table(rows: Mapping[str, Mapping[str, Cell]], caption: str = "") -> Table:
    columns = tuple(dict.fromkeys(column for row in rows.values() for column in row))
    return Table(
        columns=columns,
        rows=tuple(tuple(row.get(column) for column in columns) for row in rows.values()),
        caption=caption,
    )


def _morphemes(found: Comparison) -> Section:
    if reason := found.text.without_morphemes:
        return Section(title="Morphemes", paragraphs=(reason,))
    frequent = found.text.frequent
    rows: dict[str, dict[str, Cell]] = {}
    for name in found.measured:
        single = found.single(name)
        missing = [morpheme for morpheme, there in zip(frequent, single, strict=True) if not there]
        rows[name] = {
            "tokenizer": name,
            "single pieces %": _percent(float(np.mean(single))),
            "the most frequent that are none": " ".join(missing[:_NAMED]),
        }
    about = (
        "A token is multiple if it is two or more whole morphemes, and straddles if it crosses a boundary between "
        "morphemes and begins or ends inside one; shares are of all tokens."
    )
    caption = f"The {len(frequent):,} most frequent morphemes of two and more kanji and kana"
    curves = tuple(_coverage(name, found.single(name)) for name in found.measured)
    return Section(title="Morphemes", paragraphs=(about,), tables=(_table(rows, caption),), curves=curves)


def _coverage(name: str, single: Sequence[bool]) -> Curve:
    shares = np.cumsum(single) / np.arange(1, len(single) + 1)
    ranks = sorted({round(len(single) * step / 40) for step in range(1, 41)} - {0} | {len(single)})
    return Curve(
        name=name,
        x_label="most frequent morphemes",
        y_label="share that are single pieces",
        points=tuple((float(rank), round(float(shares[rank - 1]), 5)) for rank in ranks),
    )


def _random(found: Comparison) -> Table:
    return _table(
        {
            name: {
                "tokenizer": name,
                "texts": trips.texts,
                "come back %": _percent(1 - trips.lost / max(trips.texts, 1)),
                "the first that does not": trips.first,
            }
            for name, trips in found.random.items()
        }
    )


def _spending(found: Comparison) -> Table:
    """A row a kind of piece; for each tokenizer how many there are, how many never came up, and their share."""
    rows: dict[str, dict[str, Cell]] = {}
    for name, measured in found.measured.items():
        total = max(int(measured.used.sum()), 1)
        kinds = [
            "bytes and parts of characters" if partial else "special" if not spelling else kind_of(spelling)
            for spelling, partial in zip(measured.reader.spellings, measured.reader.partial, strict=True)
        ]
        for kind in sorted(set(kinds), key=lambda kind: (-kinds.count(kind), kind)):
            used = measured.used[[place for place, each in enumerate(kinds) if each == kind]]
            row = rows.setdefault(kind, {"pieces of": kind})
            row[f"{name}: how many"] = len(used)
            row[f"{name}: never used here"] = int((used == 0).sum())
            row[f"{name}: % of the tokens"] = round(100 * float(used.sum()) / total, 2)
    return _table(rows)


def _overlap(found: Comparison) -> Iterator[Table]:
    """Pieces that each pair shares, and the most used ones that nobody else has."""
    pieces = {name: {s for s in measured.reader.spellings if s} for name, measured in found.measured.items()}
    if len(pieces) < 2:
        return
    shared: dict[str, dict[str, Cell]] = {}
    for a, b in combinations(pieces, 2):
        both = len(pieces[a] & pieces[b])
        shared[f"{a} {b}"] = {
            "one": a,
            "other": b,
            "pieces of both": both,
            "% of the one": _percent(both / max(len(pieces[a]), 1)),
            "% of the other": _percent(both / max(len(pieces[b]), 1)),
        }
    yield _table(shared, "Pieces that spell the same")
    own: dict[str, dict[str, Cell]] = {}
    for name, measured in found.measured.items():
        others = set[str]().union(*(of for other, of in pieces.items() if other != name))
        ranked = np.argsort(-measured.used, kind="stable")[: int((measured.used > 0).sum())].tolist()
        spellings = (measured.reader.spellings[id] for id in ranked)
        alone = [f"{spelling!r}" for spelling in spellings if spelling and spelling not in others]
        own[name] = {"tokenizer": name, "pieces": " ".join(alone[:_NAMED])}
    yield _table(own, "The most used pieces that no other tokenizer here has")


def _used(name: str, measured: Measured) -> Curve:
    """Share of all tokens that are among the n most frequent pieces, as far as any are used."""
    used = np.sort(measured.used[measured.used > 0])[::-1]
    ranked = used.cumsum() / max(int(used.sum()), 1)
    ranks = sorted({min(len(ranked), round(2 ** (step / 2))) for step in range(2 * len(ranked).bit_length() + 1)} - {0})
    points = tuple((float(rank), round(float(ranked[rank - 1]), 5)) for rank in ranks)
    return Curve(name=name, x_label="most frequent pieces", y_label="share of the tokens", points=points)


def aligned(table: Table) -> str:
    """A table in columns, for a terminal.

    >>> print(aligned(Table(columns=("語", "tokens"), rows=(("猫", 1200), ("the", 3)), caption="Counts")))
    Counts
      語   tokens
      猫    1,200
      the       3
    """
    cells = [table.columns, *([_said(value) for value in row] for row in table.rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    texts = [any(isinstance(row[place], str) for row in table.rows) for place in range(len(table.columns))]
    lines = ("  ".join(_padded(*each) for each in zip(row, widths, texts, strict=True)).rstrip() for row in cells)
    return "\n".join([table.caption, *(f"  {line}" for line in lines)])


def _said(value: Cell) -> str:
    return value if isinstance(value, str) else "–" if value is None else shown(value)


def _padded(text: str, width: int, left: bool) -> str:
    space = " " * (width - _width(text))
    return text + space if left else space + text


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
