"""What our reader of verdicts and FastChat's rule make of published judgements, with the differences.

    python benchmarks/bench_verdicts.py [FOLDER …]

A FOLDER holds JSON Lines, at any depth: `judgment` and `score` (FastChat, one answer), `g1_judgment`, `g2_judgment`, `g1_winner`,
`g2_winner` (FastChat, pairs), or `judge_output` and `score` (shaberi). A text counts once. Without a folder, and after the folders, come the
judgements with known verdicts of packages/eval/tests/golden/verdicts.json.

FastChat's rule, written here anew: a rating is the first `[[n]]`, else the first `[n]`; a pair is A if `[[A]]` stands anywhere, else
B, else a tie. That this is its rule shows in the scores that it recorded, which are compared. Ratings are
on a scale from 1 to 10.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bunbuku_eval.verdicts import preference, rating

GOLDEN = Path(__file__).parents[1] / "packages/eval/tests/golden/verdicts.json"
FIRST = (("[[A]]", "a"), ("[[B]]", "b"), ("[[C]]", "tie"))
FINAL = re.compile(r"FINAL SCORE:\s*\d")


class Judgement(NamedTuple):
    where: str
    kind: str
    text: str
    recorded: Any
    low: float = 1
    high: float = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    seen: set[str] = set()
    for folder in parser.parse_args().folders:
        counts: Counter[str] = Counter()
        for one in _published(folder):
            if one.text not in seen:
                seen.add(one.text)
                _compare(one, counts)
        print(f"== {folder.name}: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    _golden()


def _compare(one: Judgement, counts: Counter[str]) -> None:
    ours, theirs = _ours(one), _theirs(one)
    counts[f"{one.kind}"] += 1
    counts[f"{one.kind}, unread by ours"] += ours is None
    counts[f"{one.kind}, unread by FastChat's"] += theirs is None
    if one.kind == "final score":
        holds = FINAL.search(one.text) is not None
        counts["final score, none in the text"] += not holds
        known = isinstance(one.recorded, int | float)
        counts["final score, ours not as recorded"] += holds and known and ours is not None and ours != one.recorded
        counts["final score, FastChat's not as recorded"] += known and theirs is not None and theirs != one.recorded
        return
    if one.kind == "rating":
        counts["rating, FastChat's rule not as it recorded"] += (theirs if theirs is not None else -1) != one.recorded
    if ours != theirs:
        counts[f"{one.kind}, read differently"] += 1
        print(f"{one.where}: ours {ours}, FastChat's {theirs}, recorded {one.recorded}: …{one.text[-160:]!r}")


def _published(folder: Path) -> Iterator[Judgement]:
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            row = json.loads(line) if line.strip() else {}
            where = f"{path.name}:{number}"
            if isinstance(text := row.get("judgment"), str):
                yield Judgement(where, "rating", text, row.get("score"))
            if isinstance(text := row.get("judge_output"), str):
                yield Judgement(where, "final score", text, row.get("score"), 0, 10)
            for game in ("g1", "g2"):
                if isinstance(text := row.get(f"{game}_judgment"), str):
                    yield Judgement(where, "pair", text, row.get(f"{game}_winner"))


def _golden() -> None:
    """Both readers on judgements whose verdict is known, by whether ours was mended by them."""
    known = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for name, kind in (("ratings", "rating"), ("preferences", "pair")):
        for when in ("before", "after"):
            counts: Counter[str] = Counter()
            rows = [row for row in known[name] if row["written"] == when]
            for row in rows:
                one = Judgement("", kind, row["text"], row["verdict"])
                for who, said in (("ours", _ours(one)), ("FastChat's", _theirs(one))):
                    how = "right" if said == row["verdict"] else "unread" if said is None else "wrong"
                    counts[f"{who} {how}"] += 1
            print(
                f"known {name}, written {when}, {len(rows)}: "
                + ", ".join(f"{k} {n}" for k, n in sorted(counts.items()))
            )


def _ours(one: Judgement) -> float | str | None:
    return preference(one.text) if one.kind == "pair" else rating(one.text, low=one.low, high=one.high)


def _theirs(one: Judgement) -> float | str | None:
    if one.kind == "pair":
        return next((side for mark, side in FIRST if mark in one.text), None)
    said = re.search(r"\[\[(\d+\.?\d*)\]\]", one.text) or re.search(r"\[(\d+\.?\d*)\]", one.text)
    return float(said[1]) if said else None


if __name__ == "__main__":
    main()
