"""Ratings from votes against FastChat: seconds for Bradley–Terry and 100 bootstrap draws, and how far the ratings differ.

    python benchmarks/bench_ratings.py VOTES --fastchat RATING_SYSTEMS [--times 20] [--rounds 10]

VOTES is CSV or Parquet with `model_a`, `model_b`, `winner` (model_a, model_b or tie). RATING_SYSTEMS is FastChat's
`fastchat/serve/monitor/rating_systems.py`; it needs pandas, scipy and tqdm. `--times` repeats the votes so many times.

Both start from the same columns in memory, in turns, in one process; CPU seconds are those of the process and its
children. The ratio's interval is a bootstrap over rounds. FastChat's optimiser stops when its loss hardly changes, some way
before the likeliest strengths; so the difference is told to what it returns, and to its likelihood followed to the end.
"""

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from statistics import median
from types import ModuleType

import numpy as np
import pandas as pd
from bunbuku_eval import Votes, rate
from bunbuku_eval.reading import read_rows
from scipy.optimize import minimize

DRAWS = 100


def main() -> None:
    options = _options()
    fastchat = _module(options.fastchat)
    rows = list(read_rows(options.votes))
    once = pd.DataFrame(rows)[["model_a", "model_b", "winner"]]
    frame = pd.concat([once] * options.times, ignore_index=True)
    models = len(set(frame["model_a"]) | set(frame["model_b"]))
    print(f"{len(frame):,} votes on {models} models, {os.cpu_count()} cores")
    _agree(fastchat, frame)
    works: dict[str, Callable[[], object]] = {
        "ours, Bradley–Terry": lambda: rate(_votes(frame), rounds=0),
        "ours, with 100 draws": lambda: rate(_votes(frame), rounds=DRAWS),
        "FastChat, Bradley–Terry": lambda: fastchat.compute_bt(frame),
        "FastChat, 100 draws": lambda: fastchat.compute_bootstrap_bt(frame, num_round=DRAWS),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(options.rounds):
        for name, work in works.items():
            taken[name].append(_timed(work))
    for name, times in taken.items():
        wall, cpu = (median(one[at] for one in times) for at in (0, 1))
        print(f"{name:24} {wall:8.4f} s wall {cpu:8.4f} s CPU")
    for at, what in ((0, "wall"), (1, "CPU")):
        ours = np.array([one[at] for one in taken["ours, with 100 draws"]])
        theirs = sum(
            np.array([one[at] for one in taken[name]]) for name in ("FastChat, Bradley–Terry", "FastChat, 100 draws")
        )
        low, high = _interval(theirs / ours)
        print(
            f"FastChat's time over ours, both whole, {what}: {np.median(theirs / ours):.1f} ({low:.1f} to {high:.1f})"
        )


def _votes(frame: pd.DataFrame) -> Votes:
    outcome = np.full(len(frame), 0.5)
    outcome[frame["winner"] == "model_a"] = 1.0
    outcome[frame["winner"] == "model_b"] = 0.0
    return Votes.of(frame["model_a"], frame["model_b"], outcome)  # pyright: ignore[reportArgumentType]


def _agree(fastchat: ModuleType, frame: pd.DataFrame) -> None:
    """Ours against what FastChat returns, and against its likelihood followed to its end."""
    ours = {row.model: row.strength for row in rate(_votes(frame), rounds=0).rows}
    matchups, outcomes, models, weights = fastchat.preprocess_for_bt(frame)
    returned = fastchat.fit_bt(matchups, outcomes, weights, len(models), np.log(10.0)) * np.log(10.0)
    args = (matchups, outcomes, weights / weights.sum(), 1.0)
    ending = {"maxiter": 10_000, "ftol": 1e-16, "gtol": 1e-12}
    ended = minimize(fastchat.bt_loss_and_grad, returned, args, jac=True, method="L-BFGS-B", options=ending).x
    for theirs, what in ((returned, "as FastChat returns it"), (ended, "FastChat's likelihood to its end")):
        far = max(abs(ours[name] - (theirs - theirs.mean())[at]) for at, name in enumerate(models))
        print(f"largest difference of a strength (log odds), {what}: {far:.1e}")


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    began, before = time.perf_counter(), _cpu()
    work()
    return time.perf_counter() - began, _cpu() - before


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _interval(values: np.ndarray) -> tuple[float, float]:
    random = np.random.default_rng(0)
    medians = [float(np.median(random.choice(values, len(values)))) for _ in range(2000)]
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)


def _module(path: Path) -> ModuleType:
    spec = spec_from_file_location("rating_systems", path)
    if spec is None or spec.loader is None:
        sys.exit(f"{path} is no Python file")
    module = module_from_spec(spec)
    # Its workers find its functions by this name.
    sys.modules["rating_systems"] = module
    spec.loader.exec_module(module)
    return module


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("votes", type=Path)
    parser.add_argument("--fastchat", type=Path, required=True)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    return parser.parse_args()


if __name__ == "__main__":
    main()
