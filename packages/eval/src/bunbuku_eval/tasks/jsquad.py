"""JSQuAD: a question whose answer stands in a paragraph (Kurihara et al. 2022, JGLUE)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from bunbuku_contracts import BunbukuError

from bunbuku_eval.reading import read_rows
from bunbuku_eval.tasks.forms import ShortAnswer
from bunbuku_eval.tasks.task import Category, Phrasing, Question, field


class JSQuAD(ShortAnswer):
    type: Literal["jsquad"] = "jsquad"
    file: str = "jsquad-v1.3-valid.json"
    phrasings: tuple[Phrasing, ...] = (
        Phrasing(
            name="extract",
            instruction="文章から質問の答えを抜き出し、その語句だけを書いてください。",
            input="文章：{context}\n質問：{question}",
        ),
        Phrasing(
            name="question-first",
            instruction="質問の答えを、文章にある言葉のまま、名詞で答えてください。ほかには何も書かないでください。",
            input="質問：{question}\n文章：{context}",
        ),
        Phrasing(name="terse", instruction="文中の語で答えよ。", input="{context}\n問 {question}"),
    )
    max_tokens: int = 48

    category: ClassVar[Category] = "reading"
    licence: ClassVar[str] = "CC-BY-SA-4.0"
    origin: ClassVar[str] = "github.com/yahoojapan/JGLUE, jsquad-v1.3"
    one_gold_in_parity: ClassVar[bool] = True

    def rows(self, path: Path) -> Iterator[dict[str, Any]]:
        for document in read_rows(path):
            try:
                yield from (
                    {"context": paragraph["context"], **item}
                    for article in document["data"]
                    for paragraph in article["paragraphs"]
                    for item in paragraph["qas"]
                )
            except (KeyError, TypeError) as error:
                raise BunbukuError(
                    f"{path} is not shaped as SQuAD: {error} is missing in data, paragraphs, qas"
                ) from error

    def question(self, row: dict[str, Any], place: str) -> Question:
        answers = [field(one, "text", place) for one in row.get("answers") or ()]
        return Question(
            id=field(row, "id", place),
            fields={"context": field(row, "context", place), "question": field(row, "question", place)},
            gold=tuple(dict.fromkeys(answers)),
        )
