"""Make questions for `bunbuku-eval score` of dialogues whose answers are right by construction.

    uv run runs/questions.py --dialogues DIR --out DIR [--not-in DIR ...]

OUT/questions.jsonl has a line for each dialogue of one question and one answer: what was asked, what is right, and the task as
its category. A question that the dialogues of `--not-in` ask too is left out, so that none of it was trained.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from bunbuku_contracts import BunbukuError, Dialogues, load
from bunbuku_synth import Item, read_items


def asked(folder: Path) -> Iterator[Item]:
    """The dialogues of one question and one answer."""
    items = read_items(load(folder, Dialogues))
    return (item for item in items if [turn.role for turn in item.messages] == ["user", "assistant"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dialogues", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--not-in", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    trained = {item.messages[0].content for folder in options.not_in for item in asked(folder)}
    rows = [
        {"id": item.id, "question": item.messages[0].content, "answer": item.said, "category": item.task}
        for item in asked(options.dialogues)
        if item.messages[0].content not in trained
    ]
    if not rows:
        raise BunbukuError(
            f"{options.dialogues} has no question that training does not ask", hint="make more items, of another part"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (options.out / "questions.jsonl").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main()
