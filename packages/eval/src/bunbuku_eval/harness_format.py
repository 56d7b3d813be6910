"""Scores in lm-evaluation-harness's format: a `results.json`, and a file of samples a task, as its tools read them.

Every way of asking is a task there. Its metrics are ours by name: `exact_match,strict`, `exact_match,lenient`, or whatever the task is
measured by; `acc,none` where the likeliest choice was taken. Standard errors are the harness's, of a mean over questions.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import stdev
from typing import Any

from bunbuku_eval.answers import Answered, Condition
from bunbuku_eval.estimates import Grid, estimate
from bunbuku_eval.scoreboard import Facts

FILTERS = ("strict", "lenient")
MEANS = ("exact_match", "char_f1", "set_f1")
"""What is measured by a mean over questions; others have no standard error, as in the harness."""


def task_name(way: Condition) -> str:
    """The name of a way of asking.

    >>> task_name(Condition("", "jnli", "generation", "chat", "terse", 0))
    'jnli_generation_chat_terse_0'
    """
    return f"{way.task}_{way.mode}_{way.style}_{way.phrasing}_{way.seed}"


def by_task(answered: Iterable[Answered]) -> dict[str, list[Answered]]:
    """Answers by way of asking."""
    found: dict[str, list[Answered]] = {}
    for one in answered:
        found.setdefault(task_name(one.condition), []).append(one)
    return found


def results(model: str, answered: Sequence[Answered], facts: Mapping[str, Facts], *, made: str) -> dict[str, Any]:
    """`results.json` of one model; `made` says what made it."""
    tasks = by_task(answered)
    scored = {name: _scored(name, own, facts[own[0].condition.task]) for name, own in tasks.items()}
    metrics = {name: _metric(own[0], facts[own[0].condition.task]) for name, own in tasks.items()}
    return {
        "results": scored,
        "group_subtasks": {name: [] for name in tasks},
        "configs": {name: _config(name, own[0], metrics[name]) for name, own in tasks.items()},
        "versions": dict.fromkeys(tasks, 0),
        "n-shot": {name: own[0].shots for name, own in tasks.items()},
        "higher_is_better": {name: {metrics[name]: True} for name in tasks},
        "n-samples": {
            name: {"original": len(own), "effective": sum(one.marks is not None for one in own)}
            for name, own in tasks.items()
        },
        "config": {"model": made, "model_args": {"pretrained": model}, "limit": None},
        "model_source": made,
        "model_name": model,
        "model_name_sanitized": model.replace("/", "__"),
    }


def _scored(name: str, own: Sequence[Answered], facts: Facts) -> dict[str, Any]:
    grid = Grid.of(own, metric=facts.metric, tokenize=facts.tokenize)
    found: dict[str, Any] = {"alias": name, "name": name, "sample_len": len(own)}
    for filtered in _filters(own[0]):
        measure = "lenient" if filtered == "lenient" else "strict"
        values = [getattr(one.marks, measure) for one in own if one.marks is not None]
        metric = _metric(own[0], facts)
        found[f"{metric},{filtered}"] = estimate(grid, measure, rounds=1, seed=0).value
        known = facts.metric in MEANS and len(values) > 1
        found[f"{metric}_stderr,{filtered}"] = stdev(values) / math.sqrt(len(values)) if known else "N/A"
    return found


def _config(name: str, one: Answered, metric: str) -> dict[str, Any]:
    return {
        "task": name,
        "output_type": "generate_until" if one.condition.mode == "generation" else "multiple_choice",
        "num_fewshot": one.shots,
        "metric_list": [{"metric": metric, "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 0},
    }


def samples(answered: Sequence[Answered], facts: Mapping[str, Facts]) -> list[str]:
    """JSON Lines of one task, a line a question and filter."""
    return [
        json.dumps(_sample(at, one, filtered, _metric(one, facts[one.condition.task])), ensure_ascii=False)
        for at, one in enumerate(answered)
        for filtered in _filters(one)
    ]


def _sample(at: int, one: Answered, filtered: str, metric: str) -> dict[str, Any]:
    asked, target = one.question, next(iter(one.question.gold), "")
    doc = {"id": asked.id, "prompt": one.prompt, "choices": list(asked.choices), "gold": list(asked.gold)}
    completions = asked.choices if one.condition.mode == "likelihood" else ("",)
    understood = one.marks.understood if one.marks else None
    read = one.output if filtered == "strict" else understood or ""
    by_choice = [[str(value), "False"] for value in one.logprobs]
    score = getattr(one.marks, "lenient" if filtered == "lenient" else "strict") if one.marks else None
    return {
        "doc_id": at,
        "doc": doc,
        "target": target,
        "arguments": {
            f"gen_args_{n}": {"arg_0": one.prompt, "arg_1": completion} for n, completion in enumerate(completions)
        },
        "resps": [[value] for value in by_choice] if by_choice else [[one.output]],
        "filtered_resps": by_choice or [read],
        "filter": filtered,
        "metrics": [metric],
        "doc_hash": _hash(json.dumps(doc, ensure_ascii=False, sort_keys=True)),
        "prompt_hash": _hash(one.prompt),
        "target_hash": _hash(target),
        metric: score,
    }


def _filters(one: Answered) -> tuple[str, ...]:
    return ("none",) if one.condition.mode == "likelihood" else FILTERS


def _metric(one: Answered, facts: Facts) -> str:
    return "acc" if one.condition.mode == "likelihood" else facts.metric


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
