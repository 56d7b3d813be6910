"""What the publisher does while its ranks train: progress on the terminal, TensorBoard, the page of the run.

Everything it shows comes from files that the ranks write, so a run that goes on shows one curve. What it publishes lies
in the artifact's `log/`, outside the content: it may depend on clocks.
"""

import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from bunbuku_contracts import Artifact, Draft, Tokenizer
from rich.console import RenderableType

from bunbuku_pretrain import observations as seen
from bunbuku_pretrain import run_page, terminal
from bunbuku_pretrain.job import Job, history_file
from bunbuku_pretrain.outlets import Outlet, TensorBoard, WeightsAndBiases, of_statistics, of_step
from bunbuku_pretrain.story import Story

_logger = logging.getLogger(__name__)

PAGE = "run.html"
_LEAST_SHARE = 50
"""The page is not drawn more often than so many times as long as drawing takes."""


class Watcher:
    """Follows a run.

    Args:
        draft: Of the artifact that comes of it.
        name: What people call it.
        job: What the ranks were given.
        texts: The text of ids.
    """

    def __init__(self, draft: Draft, name: str, job: Job, *, texts: Callable[[Sequence[int]], str]) -> None:
        self.story = Story(name, job)
        self._log, self._texts = draft.log, texts
        self._outlets: list[Outlet] = [TensorBoard(draft.log / "tensorboard")]
        if project := job.settings.watch.wandb_project:
            self._outlets.append(WeightsAndBiases(project, name, job, draft.log / "wandb"))
        self._told = [0, 0, 0]
        self._panel: RenderableType = ""
        self._next_page = 0.0
        self.story.look()
        steps, self._done = job.course.steps, 0
        self._bar: Iterator[int] = draft.track(
            range(steps),
            unit="steps",
            total=steps,
            label="train",
            done=self.story.step,
            note=lambda: terminal.note(self.story),
            panel=lambda: self._panel,
        )

    def look(self) -> None:
        """Take in what was written since the last look, and show it."""
        if self.story.look():
            self._told = [0, 0, 0]
            for outlet in self._outlets:
                outlet.begin_anew()
        self._tell()
        if sys.stderr.isatty():
            self._panel = terminal.panel(self.story)
        while self._done < self.story.step:
            next(self._bar, None)
            self._done += 1
        if time.monotonic() >= self._next_page:
            self._draw()

    def close(self, ended: str) -> None:
        """Show how it ended, and leave what was seen in the log."""
        self.story.ended = ended
        self.look()
        for outlet in self._outlets:
            outlet.close()
        self._bar = iter(())  # of a run that was cut off, the bar is not filled up
        self._draw()
        scratch = self.story.job.scratch
        files = (seen.statistics_file, seen.samples_file, seen.evaluations_file, seen.events_file)
        for path in (history_file(scratch), *(file(scratch) for file in files)):
            if path.is_file():
                shutil.copyfile(path, self._log / path.name)

    def _tell(self) -> None:
        story, told = self.story, self._told
        statistics = {one.step: one for one in story.statistics}
        for record in story.records[told[0] :]:
            found = dict(of_step(record))
            if one := statistics.get(record.step):
                found |= of_statistics(one, story.rows)
            self._scalars(found, record.step)
        for sample in story.samples[told[1] :]:
            for outlet in self._outlets:
                outlet.text(f"samples/{sample.prompt}", sample.prompt + self._texts(sample.ids), step=sample.step)
        for evaluation in story.evaluations[told[2] :]:
            self._scalars({f"milestone/{name}": value for name, value in evaluation.metrics.items()}, evaluation.step)
        self._told = [len(story.records), len(story.samples), len(story.evaluations)]

    def _scalars(self, found: dict[str, float], step: int) -> None:
        if found:
            for outlet in self._outlets:
                outlet.scalars(found, step=step)

    def _draw(self) -> None:
        """Write the page, so that a browser finds the whole of the old one or of the new.

        What stands in its way, a full disk or a number that nobody thought of, must not stop a training.
        """
        clock = time.monotonic()
        partial = self._log / f".{PAGE}.partial"
        try:
            partial.write_text(run_page.html(self.story, texts=self._texts), encoding="utf-8")
            partial.replace(self._log / PAGE)
        except (OSError, ValueError, ArithmeticError, LookupError) as error:
            _logger.warning("the page of the run could not be drawn: %s", error)
            with suppress(OSError):
                partial.unlink(missing_ok=True)
        now = time.monotonic()
        interval = self.story.job.settings.watch.page_interval_seconds
        self._next_page = now + max(interval, _LEAST_SHARE * (now - clock))


def run_name(draft: Draft) -> str:
    """What the run is called: its output's name.

    >>> from pathlib import Path
    >>> run_name(Draft(Path("runs/.trained.0123456789ab.draft"), Path("scratch")))
    'trained'
    """
    return draft.dir.name.removeprefix(".").removesuffix(".draft").rpartition(".")[0] or draft.dir.name


def write_prompts(job: Job, tokenizer: Artifact[Tokenizer]) -> None:
    """Tell the ranks what the model is to go on with."""
    spec, encoder = tokenizer.spec, _encoder(tokenizer)
    prompts = tuple(
        seen.Prompt(text=text, ids=(spec.bos_id, *encoder.encode(text, add_special_tokens=False).ids))
        for text in job.settings.watch.sample_prompts
    )
    path = seen.prompts_file(job.scratch)
    path.write_text(seen.Prompts(prompts=prompts, end=spec.eos_id).model_dump_json(), encoding="utf-8")


def decoder(tokenizer: Artifact[Tokenizer]) -> Callable[[Sequence[int]], str]:
    """The text of ids."""
    encoder = _encoder(tokenizer)
    return lambda ids: encoder.decode(list(ids))


def _encoder(tokenizer: Artifact[Tokenizer]) -> Any:
    from tokenizers import Tokenizer as FastTokenizer

    return FastTokenizer.from_file(str(tokenizer.dir / "tokenizer.json"))
