"""Progress over anything long: a live bar on a terminal, one line a minute in a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

LINE_SECONDS = 60.0
"""How often a line is written where there is no terminal."""

_logger = logging.getLogger(__name__)


class _Bars(Progress):
    """The one live display of a terminal: a panel, if somebody has one, over the bars."""

    panel: Callable[[], RenderableType] | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.panel is not None:
            yield self.panel()
        yield from super().get_renderables()


_bars: _Bars | None = None


def track[T](
    items: Iterable[T],
    *,
    unit: str,
    label: str,
    total: int | None = None,
    done: int = 0,
    note: Callable[[], str] | None = None,
    panel: Callable[[], RenderableType] | None = None,
) -> Iterator[T]:
    """`items`, one by one, while people are told how far along they are.

    Args:
        items: What is worked through.
        unit: What is counted, in the plural: `documents`.
        label: What is being done.
        total: How many there will be, if `items` does not know its length.
        done: How many come first that were done before, and say nothing about how fast it goes.
        note: What a line of the log says besides.
        panel: What a terminal shows over the bars. Asked several times a second, by a thread of the display.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        return _bar(items, unit, label, total, done, panel)
    return _lines(items, unit, label, total, done, note)


def _bar[T](
    items: Iterable[T],
    unit: str,
    label: str,
    total: int | None,
    before: int,
    panel: Callable[[], RenderableType] | None,
) -> Iterator[T]:
    global _bars  # a terminal has room for one live display: trackers inside one another share it
    outermost = _bars is None
    bars = _bars = _bars or _Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}  {task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    if outermost:
        bars.start()
    task = bars.add_task(label, total=total, unit=unit, rate="")
    outer_panel, bars.panel = bars.panel, panel or bars.panel
    try:
        yield from _count(items, bars, task, before)
    finally:
        bars.remove_task(task)
        bars.panel = outer_panel
        if outermost:
            bars.stop()
            _bars = None


def _count[T](items: Iterable[T], bars: Progress, task: TaskID, before: int) -> Iterator[T]:
    started = shown = time.monotonic()
    pending = done = 0
    for item in items:
        yield item
        pending += 1
        now = time.monotonic()
        if now - shown > 0.1:
            done, shown = done + pending, now
            bars.update(task, advance=pending, rate=f"{max(done - before, 0) / (now - started):,.0f}/s")
            pending = 0


def _lines[T](
    items: Iterable[T], unit: str, label: str, total: int | None, before: int, note: Callable[[], str] | None
) -> Iterator[T]:
    started = told = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - told >= LINE_SECONDS:
            told = now
            said = line(done, total, now - started, unit=unit, label=label, before=before)
            _logger.info("%s", "; ".join(filter(None, (said, note and note()))))


def line(done: int, total: int | None, seconds: float, *, unit: str, label: str, before: int = 0) -> str:
    """One line of progress, `before` of what is done having taken none of the seconds.

    >>> line(1200, 3600, 60.0, unit="documents", label="corpus.clean")
    'corpus.clean: 1,200 of 3,600 documents (33 %), 20.0/s, 2 min left'
    >>> line(1200, None, 60.0, unit="documents", label="corpus.clean")
    'corpus.clean: 1,200 documents, 20.0/s'
    >>> line(1200, 3600, 60.0, unit="steps", label="train", before=900)
    'train: 1,200 of 3,600 steps (33 %), 5.0/s, 8 min left'
    """
    rate = max(done - before, 0) / seconds if seconds else 0.0
    if total is None or not rate:
        return f"{label}: {done:,} {unit}, {rate:,.1f}/s"
    left = (total - done) / rate
    return (
        f"{label}: {done:,} of {total:,} {unit} ({done / total:.0%}), {rate:,.1f}/s, ".replace("%)", " %)")
        + f"{left / 60:.0f} min left"
    )
