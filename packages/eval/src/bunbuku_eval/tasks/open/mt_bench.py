"""Japanese MT-Bench: eighty questions of two turns in eight categories (Stability AI Japan 2023, after Zheng et al. 2023)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

from bunbuku_contracts import BunbukuError
from pydantic import Field, NonNegativeFloat, PositiveInt

from bunbuku_eval.tasks.talks import Talk, Talks
from bunbuku_eval.tasks.task import field


class JapaneseMTBench(Talks):
    type: Literal["japanese_mt_bench"] = "japanese_mt_bench"
    file: str = "japanese_mt_bench_question.jsonl"
    temperature: NonNegativeFloat = 0.0
    temperatures: dict[str, NonNegativeFloat] = Field(
        default={"writing": 0.7, "roleplay": 0.7, "stem": 0.1, "humanities": 0.1}
    )
    """As the benchmark has them: higher where there is more than one good answer."""
    max_tokens: PositiveInt = 1024

    licence: ClassVar[str] = "Apache-2.0"
    origin: ClassVar[str] = "github.com/Stability-AI/FastChat, japanese_mt_bench"

    def talk(self, row: dict[str, Any], place: str) -> Talk:
        turns, given = row.get("turns"), row.get("reference")
        if not isinstance(turns, list):
            raise BunbukuError(f"{place} has no list of `turns`", hint=f"it has {', '.join(sorted(row))}")
        return Talk(
            id=field(row, "question_id", place),
            turns=tuple(str(turn) for turn in turns),
            category=str(row.get("category") or ""),
            references=tuple(str(one) for one in given) if isinstance(given, list) else (),
        )

    def references(self, rows: Iterable[dict[str, Any]], place: Path) -> dict[str, tuple[str, ...]]:
        try:
            return {str(row["question_id"]): tuple(str(turn) for turn in row["choices"][0]["turns"]) for row in rows}
        except (KeyError, IndexError, TypeError) as error:
            raise BunbukuError(f"{place} has no question_id and choices[0].turns in each row") from error
