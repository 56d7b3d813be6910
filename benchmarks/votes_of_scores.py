"""Votes for bench_ratings.py, made of the scores that a judge gave: of two answers to one question the higher score wins.

    python benchmarks/votes_of_scores.py FOLDER --out votes.csv [--models 30]

FOLDER has a file of JSON Lines a model, each line with a question and its `score`, as shaberi publishes them under
`data/judgements/JUDGE/SET`. The first models by name are taken; which answer stands on the left is drawn, with a fixed seed.
"""

import argparse
import csv
import json
import random
import sys
from itertools import combinations
from pathlib import Path
from typing import Any


def main() -> None:
    options = _options()
    scores = {path.stem: _scores(path) for path in sorted(options.folder.glob("*.json"))[: options.models]}
    if len(scores) < 2:
        sys.exit(f"{options.folder} has scores of {len(scores)} models; two are needed")
    sides = random.Random(0)
    count = 0
    with options.out.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("model_a", "model_b", "winner"))
        for pair in combinations(scores, 2):
            for question in sorted(scores[pair[0]].keys() & scores[pair[1]].keys()):
                a, b = pair if sides.random() < 0.5 else pair[::-1]
                gap = scores[a][question] - scores[b][question]
                rows.writerow((a, b, "model_a" if gap > 0 else "model_b" if gap < 0 else "tie"))
                count += 1
    print(f"{count:,} votes on {len(scores)} models are in {options.out}")


def _scores(path: Path) -> dict[str, float]:
    """Scores by question; answers whose judgement could not be read have none."""
    found: dict[str, float] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row: dict[str, Any] = json.loads(line)
        score = row.get("score")
        if isinstance(score, int | float) and not isinstance(score, bool) and score == score:
            found[str(row["Question"])] = float(score)
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", type=int, default=30)
    return parser.parse_args()


if __name__ == "__main__":
    main()
