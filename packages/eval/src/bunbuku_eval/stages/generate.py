"""`eval.generate`: the same prompts to every model."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import (
    Artifact,
    Checkpoint,
    Config,
    Draft,
    Report,
    Section,
    Table,
    stage,
    write_sections,
)
from bunbuku_inference import Answer, Request, Sampling
from pydantic import Field, NonNegativeInt, model_validator

from bunbuku_eval.degenerate import Flag, flags
from bunbuku_eval.models import opened, require_hugging_face
from bunbuku_eval.prompts import DEFAULT_PROMPTS, Prompt
from bunbuku_eval.run import DEFAULT_RUN, EvalRun

SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("tokens_seen", pa.int64()),
        ("name", pa.string()),
        ("style", pa.string()),
        ("prompt", pa.string()),
        ("sample", pa.int32()),
        ("text", pa.string()),
        ("tokens", pa.int64()),
        ("finish", pa.string()),
        ("flags", pa.list_(pa.string())),
    ]
)
"""One row a model, prompt and sample."""


class GenerateConfig(Config):
    prompts: tuple[Prompt, ...] = Field(default=DEFAULT_PROMPTS, min_length=1)
    sampling: Sampling = Sampling(max_tokens=48)
    """Greedy unless a temperature is given."""
    chat_sampling: Sampling | None = None
    """For chat prompts, where another way suits them; the same as `sampling` without it."""
    samples: int = Field(default=1, ge=1)
    """Answers a prompt; more than one needs a temperature above 0."""
    seed: NonNegativeInt = 0
    """Each prompt and sample gets a seed of its own from it, the same for every model."""

    def sampling_of(self, prompt: Prompt) -> Sampling:
        return self.chat_sampling if self.chat_sampling and prompt.style == "chat" else self.sampling

    def seed_of(self, prompt: Prompt, index: int) -> int:
        """Were it the same for all prompts, their texts would be drawn by the same numbers and come out alike."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}\0{prompt.name}\0{index}".encode()).digest()[:4])

    @model_validator(mode="after")
    def _samples_differ(self) -> "GenerateConfig":
        greedy = any(self.sampling_of(prompt).temperature == 0 for prompt in self.prompts)
        if self.samples > 1 and greedy:
            raise ValueError(f"`samples` {self.samples} would all be the same at temperature 0")
        names = [prompt.name for prompt in self.prompts]
        if len(set(names)) < len(names):
            raise ValueError(f"`prompts` have a name twice: {', '.join(sorted(names))}")
        return self


class Sample(NamedTuple):
    """One answer."""

    model: str
    tokens_seen: int
    prompt: Prompt
    number: int
    answer: Answer

    @property
    def flags(self) -> tuple[Flag, ...]:
        return flags(self.answer.text, japanese=self.prompt.japanese)


@stage("eval.generate", revision=3, bitwise=False)
def generate(
    draft: Draft,
    config: GenerateConfig,
    checkpoints: dict[str, Artifact[Checkpoint]],
    *,
    run: EvalRun = DEFAULT_RUN,
) -> Report:
    """Let every model go on from the same Japanese prompts, and lay the texts side by side.

    Give milestones of one run to watch it learn. Empty, looping and foreign texts are flagged; nothing is picked by hand.
    """
    require_hugging_face(checkpoints)
    asked = [(prompt, index) for prompt in config.prompts for index in range(config.samples)]
    requests = [
        Request(prompt=prompt.asked, sampling=config.sampling_of(prompt), seed=config.seed_of(prompt, index))
        for prompt, index in asked
    ]
    found: list[Sample] = []
    for name, checkpoint in draft.track(checkpoints.items(), unit="models", total=len(checkpoints)):
        with opened(run.engine, checkpoint) as model:
            answers = model.generate(requests)
        seen = checkpoint.manifest.spec.tokens_seen
        found += [Sample(name, seen, *of, answer) for of, answer in zip(asked, answers, strict=True)]
    _publish(draft, config, found, models=tuple(checkpoints))
    return Report(title="The same prompts to every model")


def _publish(draft: Draft, config: GenerateConfig, found: Sequence[Sample], *, models: Sequence[str]) -> None:
    for model in models:
        own = [sample for sample in found if sample.model == model]
        draft.metrics[f"flagged.{model}"] = sum(bool(sample.flags) for sample in own) / len(own)
        draft.metrics[f"ended.{model}"] = sum(sample.answer.finish == "stop" for sample in own) / len(own)
    path = draft.dir / "items.parquet"
    pq.write_table(pa.Table.from_pylist([_row(sample) for sample in found], SCHEMA), path)
    draft.count(path, rows=len(found), part="items")
    counts = Table(
        columns=("model", "flagged", "ended by itself"),
        rows=tuple(
            (model, round(draft.metrics[f"flagged.{model}"], 3), round(draft.metrics[f"ended.{model}"], 3))
            for model in models
        ),
        caption="Share of texts with a flag (empty, loop, garbled, not Japanese), and of those the model ended itself",
    )
    section = Section(
        title="The same prompts to every model",
        paragraphs=(
            f"Every model, the same prompts, {_how(config)}. All texts are shown as they came; none was picked.",
        ),
        tables=(counts, *(_table(prompt, found) for prompt in config.prompts)),
    )
    write_sections(draft, [section])


def _how(config: GenerateConfig) -> str:
    told = {prompt.style: config.sampling_of(prompt) for prompt in config.prompts}
    return "; ".join(
        f"{style} prompts "
        + ("greedily" if one.temperature == 0 else f"at temperature {one.temperature:g} and top-p {one.top_p:g}")
        + f", at most {one.max_tokens} tokens"
        for style, one in told.items()
    )


def _table(prompt: Prompt, found: Sequence[Sample]) -> Table:
    rows = tuple(
        (sample.model, sample.tokens_seen, sample.answer.text, ", ".join(sample.flags))
        for sample in found
        if sample.prompt == prompt
    )
    return Table(columns=("model", "tokens seen", "text", "flags"), rows=rows, caption=f"{prompt.style}: {prompt.text}")


def _row(sample: Sample) -> dict[str, object]:
    return {
        "model": sample.model,
        "tokens_seen": sample.tokens_seen,
        "name": sample.prompt.name,
        "style": sample.prompt.style,
        "prompt": sample.prompt.text,
        "sample": sample.number,
        "text": sample.answer.text,
        "tokens": sample.answer.completion_tokens,
        "finish": sample.answer.finish,
        "flags": list(sample.flags),
    }
