"""A training on a terminal: what a person who sits in front of it wants to see at a glance.

`panel` is drawn over the bar of progress; `note` is the same in a few words, for the lines of a log.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bunbuku_pretrain.charts import short
from bunbuku_pretrain.durations import duration
from bunbuku_pretrain.job import StepRecord
from bunbuku_pretrain.story import Story, incidents

SPARK_WIDTH = 44
LAST_EVENTS = 5
_BLOCKS = "▁▂▃▄▅▆▇█"
_COLOURS = {
    "spike": "red",
    "nan": "bold red",
    "skip": "yellow",
    "rollback": "magenta",
    "restart": "cyan",
    "slow": "yellow",
    "milestone": "green",
    "failure": "bold red",
    "damaged": "red",
}


def panel(story: Story, *, clock: Callable[[], float] = time.time) -> RenderableType:
    """The run as it is now."""
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim")
    lines.add_column(justify="right", style="bold")
    lines.add_column(no_wrap=True)
    for name, value, points in _lines(story):
        lines.add_row(name, value, Text(sparkline(points), style="cyan"))
    parts: list[RenderableType] = [lines, Text("  ".join(_facts(story)), style="dim"), _incidents(story)]
    if story.events:
        parts.append(_events(story, clock()))
    title = f"[bold]{_safe(story.name)}[/]  {_safe(story.phase)}".rstrip()
    return Panel(Group(*parts), title=title, title_align="left", border_style="red", padding=(0, 1))


def note(story: Story) -> str:
    """The run in a line."""
    found: list[str] = []
    if (loss := _last(story, lambda record: record.loss)) is not None:
        found.append(f"loss {loss:.4f}")
    if (validation := _last(story, lambda record: record.validation_loss)) is not None:
        found.append(f"validation {validation:.4f}")
    if (norm := _last(story, lambda record: record.gradient_norm)) is not None:
        found.append(f"gradient norm {norm:.3g}")
    found += _facts(story)
    return ", ".join([*found, *(f"{count} {name}" for name, count in incidents(story) if count)])


def sparkline(values: Sequence[float], *, width: int = SPARK_WIDTH) -> str:
    """Values as blocks; a stretch of many shows its largest, so that no spike is lost.

    >>> sparkline([1, 2, 3, 8, 3, 2, 1], width=7)
    '▁▂▃█▃▂▁'
    >>> sparkline([0, 1, 2, 9, 2, 1], width=3), sparkline([]), sparkline([5.0])
    ('▁█▂', '', '▁')
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    size = math.ceil(len(finite) / width)
    most = [max(finite[begin : begin + size]) for begin in range(0, len(finite), size)]
    low, high = min(most), max(most)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((value - low) * scale)] for value in most)


def _lines(story: Story) -> Iterator[tuple[str, str, list[float]]]:
    """Name, last value and the values before it of what has a line."""
    measures: tuple[tuple[str, str, Callable[[StepRecord], float | None]], ...] = (
        ("loss", ".4f", lambda record: record.loss),
        ("validation", ".4f", lambda record: record.validation_loss),
        ("gradient norm", ".3g", lambda record: record.gradient_norm),
        ("learning rate", ".3g", lambda record: record.learning_rate),
    )
    for name, form, value in measures:
        points = [found for record in story.records if (found := value(record)) is not None]
        if points:
            # The first steps fall so far that nothing would be seen of the later ones.
            begin = len(points) // 10 if name == "loss" else 0
            yield name, format(points[-1], form), points[begin:]


def _facts(story: Story) -> Iterator[str]:
    if rate := story.tokens_per_second:
        yield f"{short(float(f'{rate:.3g}'))} tokens/s"
        if (mfu := story.mfu(rate)) is not None:
            yield f"MFU {mfu:.1%}"
    if story.statistics:
        yield f"{story.statistics[-1].memory_bytes / 2**30:.1f} GiB"


def _incidents(story: Story) -> Text:
    text = Text()
    for name, count in incidents(story):
        text.append(f"{name} ", style="dim").append(f"{count}   ", style="bold red" if count else "dim")
    return text


def _events(story: Story, now: float) -> Table:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
    table.add_column(style="dim", justify="right", no_wrap=True)
    for event in islice(reversed(story.events), LAST_EVENTS):
        kind = Text(event.kind, style=_COLOURS.get(event.kind, ""))
        table.add_row(f"step {event.step}", kind, Text(event.text), f"{duration(max(0.0, now - event.time))} ago")
    return table


def _last(story: Story, value: Callable[[StepRecord], float | None]) -> float | None:
    return next((found for record in reversed(story.records) if (found := value(record)) is not None), None)


def _safe(text: str) -> str:
    return text.replace("[", r"\[")
