"""ELYZA-tasks-100: a hundred instructions, each with a good answer and what a judge is to look at (ELYZA 2023)."""

from typing import Any, ClassVar, Literal

from pydantic import PositiveInt

from bunbuku_eval.tasks.talks import Talk, Talks
from bunbuku_eval.tasks.task import field


class ElyzaTasks100(Talks):
    type: Literal["elyza_tasks_100"] = "elyza_tasks_100"
    file: str = "elyza_tasks_100.jsonl"
    max_tokens: PositiveInt = 1024

    licence: ClassVar[str] = "CC-BY-SA-4.0"
    origin: ClassVar[str] = "ELYZA-tasks-100, huggingface.co/datasets/elyza/ELYZA-tasks-100"

    def talk(self, row: dict[str, Any], place: str) -> Talk:
        asked = row.get("instruction") or field(row, "input", place)
        more = row.get("input") if row.get("instruction") else ""
        return Talk(
            # The published file has no ids: the place in the file is one.
            id=str(row.get("id") or place.removeprefix("item ").partition(" ")[0]),
            turns=(f"{asked}\n\n{more}" if more else str(asked),),
            category="elyza",
            references=(field(row, "output", place),),
            criteria=str(row.get("eval_aspect") or ""),
        )
