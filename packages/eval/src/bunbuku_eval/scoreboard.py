"""What a scored run publishes: metrics, sections, the log of items, a radar chart and the page to browse the answers."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from statistics import fmean

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import Config, Draft, Picture, Report, Section, Table, write_sections
from pydantic import TypeAdapter

from bunbuku_eval import browse
from bunbuku_eval.answers import Answered
from bunbuku_eval.estimates import (
    MEASURES,
    Comparison,
    Estimate,
    Grid,
    compare,
    consistency,
    estimate,
    flipped,
    grids,
    pass_at,
    spread,
)
from bunbuku_eval.radar import radar
from bunbuku_eval.tasks import Task
from bunbuku_eval.tasks.task import Category, Metric

type Key = tuple[str, str, str, str]
"""Model, task, mode and style."""

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("model", "task", "category", "id", "mode", "style", "phrasing")),
        ("seed", pa.int64()),
        ("shots", pa.int32()),
        ("prompt", pa.string()),
        ("gold", pa.list_(pa.string())),
        ("choices", pa.list_(pa.string())),
        ("logprobs", pa.list_(pa.float64())),
        ("output", pa.string()),
        ("understood", pa.string()),
        *(
            (name, pa.float64())
            for name in ("strict", "lenient", "parity", "strict_value", "lenient_value", "parity_value")
        ),
        ("format_ok", pa.bool_()),
        ("degenerate", pa.bool_()),
        ("flags", pa.list_(pa.string())),
        ("contaminated", pa.bool_()),
        ("flipped", pa.bool_()),
        ("failure", pa.string()),
        ("finish", pa.string()),
        ("tokens", pa.int64()),
        ("seconds", pa.float64()),
    ]
)
"""One row an answer: all that is needed to look at it later, and to score it anew."""

PAGE = "items.html"
FACTS = "tasks.json"


class Facts(Config):
    """What is to be known of a task to read its scores."""

    task: str
    category: Category
    metric: Metric
    shots: int
    licence: str
    origin: str
    """Where the data come from, as its class says."""
    file: str
    """What was read."""
    sha256: str
    tokenize: str = "char"
    """How sacrebleu cut words, where the metric is BLEU."""

    @classmethod
    def of(cls, task: Task, *, file: str, sha256: str, licence: str) -> "Facts":
        return cls(
            task=task.label,
            category=task.category,
            metric=task.measured_by,
            shots=task.shots,
            licence=licence,
            origin=task.origin,
            file=file,
            sha256=sha256,
            tokenize=task.cut_by,
        )


FACTS_LIST = TypeAdapter(tuple[Facts, ...])


@dataclass(frozen=True)
class Scoreboard:
    """All answers, and what is drawn from them."""

    facts: tuple[Facts, ...]
    answered: tuple[Answered, ...]
    rounds: int
    seed: int

    @cached_property
    def grids(self) -> dict[Key, Grid]:
        return grids(self.answered, {one.task: (one.metric, one.tokenize) for one in self.facts})

    def of(self, grid: Grid, measure: str) -> Estimate:
        return estimate(grid, measure, rounds=self.rounds, seed=self.seed)  # pyright: ignore[reportArgumentType]

    def pairs(self) -> Iterator[tuple[Key, Key, Comparison]]:
        """Every two models on the same task, mode and style."""
        for one, other in combinations(self.grids, 2):
            if one[1:] == other[1:]:
                yield one, other, compare(self.grids[one], self.grids[other], rounds=self.rounds, seed=self.seed)

    @cached_property
    def flipped(self) -> set[tuple[str, str, str, str]]:
        """Task, mode, style and id of questions that one model gets right and another does not."""
        found: set[tuple[str, str, str, str]] = set()
        for one, other in combinations(self.grids, 2):
            if one[1:] == other[1:]:
                theirs = dict(zip(self.grids[other].ids, self.grids[other].answered, strict=True))
                for id, row in zip(self.grids[one].ids, self.grids[one].answered, strict=True):
                    if id in theirs and flipped(row, theirs[id]):
                        found.add((*one[1:], id))
        return found

    def is_flipped(self, one: Answered) -> bool:
        way = one.condition
        return (way.task, way.mode, way.style, one.question.id) in self.flipped

    @property
    def audited(self) -> bool:
        return any(one.contaminated is not None for one in self.answered)


def publish(draft: Draft, board: Scoreboard, *, models: Sequence[str], page_rows: int) -> Report:
    """Write everything a scored run is looked at by."""
    draft.metrics |= _metrics(board, models)
    rows = [_row(board, one) for one in board.answered]
    path = draft.dir / "items.parquet"
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    draft.count(path, rows=len(rows), part="items")
    (draft.dir / FACTS).write_bytes(FACTS_LIST.dump_json(board.facts, indent=1) + b"\n")
    (draft.dir / PAGE).write_text(browse.page("Answers to tasks", rows[:page_rows], total=len(rows)), encoding="utf-8")
    pictures = _radars(draft, board)
    sections = [
        Section(
            title="Tasks with right answers",
            paragraphs=_told(board),
            tables=(_scores(board), *_more_table(board)),
            pictures=pictures,
        ),
        Section(title="Ways of asking", paragraphs=(_ON_WAYS,), tables=(_ways(board),)),
    ]
    if len(models) > 1:
        sections.append(Section(title="Models on the same questions", paragraphs=(_ON_PAIRS,), tables=(_pairs(board),)))
    if board.audited:
        sections.append(Section(title="Without contaminated items", tables=(_clean(board),)))
    sections.append(Section(title="Where the questions come from", tables=(_origins(board),)))
    write_sections(draft, sections)
    licences = {part for one in board.facts for part in one.licence.split(" AND ")}
    return Report(title="Tasks with right answers", page=PAGE, licences=tuple(sorted(licences)))


_ON_WAYS = (
    "How far the lenient score moves with the wording alone, and with the worked examples or draws alone: highest less "
    "lowest. A difference between models that is smaller than this may be one of wording."
)
_ON_PAIRS = (
    "The first model less the second in the lenient score, with a bootstrap over the questions that both were asked, "
    "drawn alike for both. A question has flipped if one of them gets it right on most ways of asking, and the other does not."
)


def _metrics(board: Scoreboard, models: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for key, grid in board.grids.items():
        for measure in MEASURES:
            value = board.of(grid, measure)
            name = ".".join((measure, *key))
            if not math.isnan(value.value):
                found |= {name: value.value, f"{name}.low": value.low, f"{name}.high": value.high}
    for key, name, value in _more(board):
        found |= {f"{name}.{'.'.join(key)}{end}": one for end, one in zip(("", ".low", ".high"), value, strict=True)}
    for model in models:
        own = [one for one in board.answered if one.condition.model == model]
        found[f"answers.{model}"] = len(own)
        found[f"failed.{model}"] = sum(one.marks is None for one in own)
    return {name: value for name, value in found.items() if not math.isnan(value)}


KS = (1, 2, 5, 10, 50, 100)


def _more(board: Scoreboard) -> Iterator[tuple[Key, str, Estimate]]:
    """What some tasks have besides: pass@k of programs, and whether answers stay the same in all phrasings."""
    codes = {one.task for one in board.facts if one.category == "code"}
    for key, grid in board.grids.items():
        if key[1] in codes:
            for k in (k for k in KS if k <= len(grid.ways)):
                yield key, f"pass_at_{k}", pass_at(grid, k, rounds=board.rounds, seed=board.seed)
        elif len({way.phrasing for way in grid.ways}) > 1 and any(one.question.choices for one in grid.answers):
            yield key, "consistency", consistency(grid, rounds=board.rounds, seed=board.seed)


def _more_table(board: Scoreboard) -> tuple[Table, ...]:
    rows = tuple((*key, name, _cell(value)) for key, name, value in _more(board))
    caption = (
        "pass@k: one of k draws is right; consistency: 1 where a question has the same answer in all phrasings, 0.5 where in "
        "more than half"
    )
    columns = ("model", "task", "mode", "style", "measure", "value")
    return (Table(columns=columns, rows=rows, caption=caption),) if rows else ()


def _told(board: Scoreboard) -> tuple[str, ...]:
    said = [
        "Strict counts an answer that keeps to the form that was asked for; lenient also one that says the same in other "
        "words. Format-ok is how often the form was kept, right or wrong; degenerate is what was empty, a loop or not the "
        "language, and counts as wrong. The gap between strict and lenient is form, not knowledge. As llm-jp-eval: its "
        "metric on the output as it came. Correlations are Pearson's or Spearman's, as each task says; one of fewer than two answers is undefined. BLEU is that of the whole set, "
        "over 100. "
        "Intervals are 95 %, a bootstrap over questions."
    ]
    if failed := sum(one.marks is None for one in board.answered):
        said.append(
            f"Incomplete: {failed} of {len(board.answered)} answers did not come back and are in no score. "
            "Their reasons stand in items.parquet."
        )
    return tuple(said)


def _scores(board: Scoreboard) -> Table:
    rows = []
    for key, grid in board.grids.items():
        cells = [_cell(board.of(grid, measure)) for measure in MEASURES]
        rows.append((*key, len(grid.ids), len(grid.answers), grid.failed, *cells))
    columns = ("model", "task", "mode", "style", "questions", "answers", "failed")
    measures = ("strict", "lenient", "format ok", "degenerate", "as llm-jp-eval")
    return Table(columns=columns + measures, rows=tuple(rows), caption="Scores with their 95 % intervals")


def _ways(board: Scoreboard) -> Table:
    rows = []
    for key, grid in board.grids.items():
        by = spread(grid, rounds=board.rounds, seed=board.seed)
        names = {way.phrasing for way in grid.ways}
        seeds = {way.seed for way in grid.ways}
        rows.append((*key, len(names), _cell(by.phrasings), len(seeds), _cell(by.seeds)))
    columns = ("model", "task", "mode", "style", "phrasings", "spread over phrasings", "seeds", "spread over seeds")
    return Table(columns=columns, rows=tuple(rows))


def _pairs(board: Scoreboard) -> Table:
    rows = []
    for one, other, found in board.pairs():
        verdict = "yes" if found.sure else "no"
        rows.append((one[0], other[0], *one[1:], _cell(found.difference), found.better, found.worse, verdict))
    columns = ("model", "against", "task", "mode", "style", "difference", "only first right", "only second right")
    return Table(columns=(*columns, "beyond chance"), rows=tuple(rows))


def _clean(board: Scoreboard) -> Table:
    rows = []
    tests: tuple[Callable[[Answered], bool], ...] = (
        lambda one: one.contaminated is True,
        lambda one: one.contaminated is False,
    )
    for key, grid in board.grids.items():
        flagged, others = (grid.only(test) for test in tests)
        if flagged.ids or any(one.contaminated is not None for one in grid.answers):
            values = [_cell(board.of(some, "lenient")) if some.ids else None for some in (grid, flagged, others)]
            unjudged = len(grid.ids) - len(flagged.ids) - len(others.ids)
            rows.append((*key, len(flagged.ids), unjudged, len(grid.ids), *values))
    columns = (
        "model",
        "task",
        "mode",
        "style",
        "contaminated",
        "not judged",
        "questions",
        "all",
        "contaminated only",
        "without them",
    )
    return Table(
        columns=columns,
        rows=tuple(rows),
        caption="Lenient score with and without the items found in the corpus; what the audit could not judge is in neither part",
    )


def _origins(board: Scoreboard) -> Table:
    rows = tuple(
        (one.task, one.category, one.metric, one.shots, one.licence, one.origin, one.file, one.sha256)
        for one in board.facts
    )
    columns = ("task", "category", "metric", "worked examples", "licence", "origin", "file", "sha256")
    return Table(columns=columns, rows=rows)


def _radars(draft: Draft, board: Scoreboard) -> tuple[Picture, ...]:
    """A chart a mode and style that has three categories or more."""
    category = {one.task: one.category for one in board.facts}
    pictures: list[Picture] = []
    for mode, style in dict.fromkeys(key[2:] for key in board.grids):
        values: dict[str, dict[str, list[float]]] = {}
        corners = sorted({category[key[1]] for key in board.grids if key[2:] == (mode, style)})
        for (model, task, *way), grid in board.grids.items():
            value = board.of(grid, "lenient").value
            if tuple(way) == (mode, style):
                values.setdefault(model, {}).setdefault(category[task], []).append(value)
        if len(corners) >= 3:
            scores = {model: [_mean(of.get(one, ())) for one in corners] for model, of in values.items()}
            title = f"Lenient score by category, {mode}, {style}"
            path = draft.dir / f"radar-{mode}-{style}.svg"
            path.write_text(radar(scores, corners, title=title), encoding="utf-8")
            pictures.append(
                Picture(path=path.name, caption=f"{title}: the rim is 1; where a score is undefined the line is broken")
            )
    return tuple(pictures)


def _row(board: Scoreboard, one: Answered) -> dict[str, object]:
    way, marks = one.condition, one.marks
    return {
        "model": way.model,
        "task": way.task,
        "category": one.question.category,
        "id": one.question.id,
        "mode": way.mode,
        "style": way.style,
        "phrasing": way.phrasing,
        "seed": way.seed,
        "shots": one.shots,
        "prompt": one.prompt,
        "gold": list(one.question.gold),
        "choices": list(one.question.choices),
        "logprobs": list(one.logprobs),
        "output": one.output,
        "understood": marks.understood if marks else None,
        "strict": marks.strict if marks else None,
        "lenient": marks.lenient if marks else None,
        "parity": marks.parity if marks else None,
        "strict_value": marks.strict_value if marks else None,
        "lenient_value": marks.lenient_value if marks else None,
        "parity_value": marks.parity_value if marks else None,
        "format_ok": marks.format_ok if marks else None,
        "degenerate": marks.degenerate if marks else None,
        "flags": list(marks.flags) if marks else [],
        "contaminated": one.contaminated,
        "flipped": board.is_flipped(one),
        "failure": one.failure or None,
        "finish": one.finish,
        "tokens": one.tokens,
        "seconds": one.seconds,
    }


def _cell(value: Estimate) -> str:
    if math.isnan(value.value):
        return "undefined"
    return f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f})".replace("-", "−")


def _mean(values: Sequence[float]) -> float | None:
    """Of those that are defined; `None` if none is."""
    found = [value for value in values if not math.isnan(value)]
    return fmean(found) if found else None
