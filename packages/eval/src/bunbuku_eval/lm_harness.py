"""The one module that knows lm-evaluation-harness (EleutherAI), the extra `harness`: the same questions, asked by it.

Each way of asking becomes a task of the harness with the prompts as they were sent; its own model class loads the checkpoint, and
its own evaluator asks and counts. Nothing is downloaded.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import BunbukuError


class Doc(NamedTuple):
    """One question, as it was put to the model."""

    id: str
    prompt: str
    choices: tuple[str, ...]
    target: str
    """The right answer."""


@dataclass(frozen=True)
class HarnessTask:
    """Questions that are asked alike."""

    name: str
    mode: Literal["generation", "likelihood"]
    docs: tuple[Doc, ...]
    max_tokens: int = 0
    stop: tuple[str, ...] = ()


class Said(NamedTuple):
    """What the harness got for one question."""

    output: str
    """What was written; of choices, the likeliest."""
    logprobs: tuple[float, ...]
    right: float
    """The harness's own score: its `acc`, or its `exact_match`."""


@dataclass(frozen=True)
class HarnessRun:
    """All that it says."""

    said: dict[str, list[Said]]
    """By task, in the order of its questions."""
    results: dict[str, Any]
    """As the harness writes them, without samples."""
    version: str


def evaluate(
    checkpoint: Path, tasks: Sequence[HarnessTask], scratch: Path, *, device: str, batch_size: int
) -> HarnessRun:
    """Ask all tasks of the checkpoint, in 32 bits, through the harness."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import lm_eval
        from lm_eval.models.huggingface import HFLM
    except ImportError as error:
        raise BunbukuError("lm-evaluation-harness is not installed", hint='uv add "bunbuku-eval[harness]"') from error
    # What its decorators leave of its types is not what it takes.
    load: Any = HFLM
    ask: Any = lm_eval.simple_evaluate
    model = load(pretrained=str(checkpoint), device=device, dtype="float32", batch_size=batch_size)
    wanted: list[Any] = [_config(task, scratch) for task in tasks]
    found = ask(model=model, tasks=wanted, bootstrap_iters=0, log_samples=True)
    samples = found.pop("samples")
    said = {task.name: [_said(task, row) for row in _ordered(samples[task.name])] for task in tasks}
    return HarnessRun(said, dict(found), lm_eval.__version__)


def _config(task: HarnessTask, scratch: Path) -> dict[str, Any]:
    path = scratch / f"{task.name}.parquet"
    columns = {
        "id": [doc.id for doc in task.docs],
        "prompt": [doc.prompt for doc in task.docs],
        "choices": [list(doc.choices) for doc in task.docs],
        "target": [doc.target for doc in task.docs],
        "answer": [doc.choices.index(doc.target) if doc.target in doc.choices else -1 for doc in task.docs],
    }
    pq.write_table(pa.table(columns), path)
    asked: dict[str, Any] = {
        "task": task.name,
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {"test": str(path)}, "cache_dir": str(scratch / "cache")},
        "test_split": "test",
        "doc_to_text": "prompt",
        # Between prompt and answer stands nothing that the prompt does not have.
        "target_delimiter": "",
        "num_fewshot": 0,
    }
    if task.mode == "likelihood":
        choices = {"output_type": "multiple_choice", "doc_to_choice": "choices", "doc_to_target": "answer"}
        return asked | choices | {"metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]}
    written = {"until": list(task.stop), "max_gen_toks": task.max_tokens, "do_sample": False, "temperature": 0.0}
    return asked | {
        "output_type": "generate_until",
        "doc_to_target": "target",
        "generation_kwargs": written,
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }


def _ordered(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(samples, key=lambda row: row["doc_id"])


def _said(task: HarnessTask, row: dict[str, Any]) -> Said:
    if task.mode == "generation":
        return Said(row["filtered_resps"][0], (), float(row["exact_match"]))
    logprobs = tuple(float(one[0]) for one in row["filtered_resps"])
    best = max(range(len(logprobs)), key=lambda at: logprobs[at])
    return Said(task.docs[row["doc_id"]].choices[best], logprobs, float(row["acc"]))
