"""How often good published answers are flagged as degenerate, and how often broken ones are.

    python benchmarks/bench_flags.py --good DATA/eval/elyza_tasks_100.jsonl:output \
        --good DATA/eval/japanese_mt_bench_reference_gpt-4o.jsonl:choices \
        --broken ANSWERS.json:ModelAnswer

Each argument is a JSON Lines file and the field with the answer; of `choices`, each turn of the first is one.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from bunbuku_eval.degenerate import flags


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--good", action="append", default=[])
    parser.add_argument("--broken", action="append", default=[])
    parser.add_argument(
        "--show", type=int, default=0, help="so many of the flagged good ones, and of the broken ones that are not"
    )
    given = parser.parse_args()
    for kind in ("good", "broken"):
        for argument in getattr(given, kind):
            path, _, field = argument.rpartition(":")
            answers = list(_answers(Path(path), field))
            found = [flags(one) for one in answers]
            counts = Counter(flag for one in found for flag in one)
            flagged = sum(bool(one) for one in found)
            told = ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "none"
            print(f"{kind:6} {Path(path).name}: {flagged} of {len(answers)} flagged ({told})")
            odd = [(one, of) for one, of in zip(answers, found, strict=True) if bool(of) == (kind == "good")]
            for text, of in odd[: given.show]:
                print("      ", ", ".join(of) or "no flag", repr(text[:120]))


def _answers(path: Path, field: str) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line.strip():
            value = json.loads(line).get(field)
            if field == "choices":
                yield from value[0]["turns"]
            elif isinstance(value, str) and value.strip():
                yield value


if __name__ == "__main__":
    main()
