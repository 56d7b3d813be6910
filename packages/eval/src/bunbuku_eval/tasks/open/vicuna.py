"""Japanese Vicuna QA: eighty questions in nine categories, without references for most (Sun et al. 2024)."""

from typing import ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from bunbuku_eval.tasks.open.mt_bench import JapaneseMTBench


class JapaneseVicunaQA(JapaneseMTBench):
    type: Literal["japanese_vicuna_qa"] = "japanese_vicuna_qa"  # pyright: ignore[reportIncompatibleVariableOverride]
    file: str = "question.jsonl"
    temperatures: dict[str, NonNegativeFloat] = Field(default={})

    licence: ClassVar[str] = "Apache-2.0"
    origin: ClassVar[str] = "github.com/ku-nlp/ja-vicuna-qa-benchmark, jp_bench"
