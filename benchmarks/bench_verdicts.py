"""What our reader of verdicts and the rule of the first match make of published pairwise judgements, with the differences.

    python benchmarks/bench_verdicts.py FOLDER

FOLDER holds JSON Lines files as FastChat writes them, at any depth: `g1_judgment`, `g2_judgment` and, where somebody has read
them already, `g1_winner`, `g2_winner`. The rule of the first match says A if `[[A]]` stands anywhere, else B, else a tie.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from bunbuku_eval.verdicts import preference

FIRST = (("[[A]]", "a"), ("[[B]]", "b"), ("[[C]]", "tie"))


def first_match(text: str) -> str | None:
    return next((side for mark, side in FIRST if mark in text), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    counts: Counter[str] = Counter()
    for path in sorted(parser.parse_args().folder.rglob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            row = json.loads(line) if line.strip() else {}
            for name in ("g1_judgment", "g2_judgment"):
                if not isinstance(text := row.get(name), str):
                    continue
                ours, theirs = preference(text), first_match(text)
                counts["judgements"] += 1
                counts["unread by the last verdict"] += ours is None
                counts["unread by the first match"] += theirs is None
                counts["read differently"] += ours != theirs
                if ours != theirs:
                    print(f"{path.name}:{number} {name}: last {ours}, first {theirs}: …{text[-160:]!r}")
    for name, count in counts.items():
        print(f"{name}: {count}")


if __name__ == "__main__":
    main()
