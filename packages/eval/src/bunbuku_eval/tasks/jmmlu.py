"""JMMLU: examination questions of 56 subjects with four answers each (Waseda University 2024), a file a subject."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from bunbuku_contracts import BunbukuError

from bunbuku_eval.reading import read_rows
from bunbuku_eval.tasks.forms import Labelled
from bunbuku_eval.tasks.task import Category, Phrasing, Question, field

LETTERS = "ABCD"


NO_DERIVATIVES = ("japanese_civics", "japanese_geography", "japanese_idiom")
"""Subjects under another licence than the rest: CC BY-NC-ND 4.0."""
RESEARCH = ("japanese_history", "world_history")
"""Subjects that may be used commercially for research and evaluation of language models alone."""


class JMMLU(Labelled):
    """All subjects of a folder, or the one of a file; an item's category is its subject."""

    type: Literal["jmmlu"] = "jmmlu"
    file: str = "JMMLU"
    subjects: tuple[str, ...] = ()
    """Only these of a folder; all of it, without one."""
    phrasings: tuple[Phrasing, ...] = (
        Phrasing(
            name="letter",
            instruction="問題の答えを A、B、C、D から一つ選び、その一文字だけを出力してください。",
            input="問題：{question}\n{list}",
        ),
        Phrasing(
            name="polite",
            instruction="次の試験問題の正しい選択肢を、記号一文字で教えてください。ほかには何も書かないでください。",
            input="{question}\n選択肢：{options}",
        ),
        Phrasing(name="terse", instruction="記号で答えよ。", input="問 {question}\n{list}"),
    )
    max_tokens: int = 16

    category: ClassVar[Category] = "knowledge"
    licence: ClassVar[str] = "CC-BY-SA-4.0"
    origin: ClassVar[str] = "github.com/nlp-waseda/JMMLU"
    columns: ClassVar[tuple[str, ...]] = ("question", *LETTERS, "answer")

    def rows(self, path: Path) -> Iterator[dict[str, Any]]:
        files = sorted(path.rglob("*.csv")) if path.is_dir() else [path]
        wanted = [one for one in files if not self.subjects or one.stem in self.subjects]
        if missing := sorted(set(self.subjects) - {one.stem for one in files}):
            raise BunbukuError(
                f"{path} has no subject {', '.join(missing)}", hint="a file NAME.csv is the subject NAME"
            )
        if not wanted:
            raise BunbukuError(f"{path} has no file NAME.csv", hint="name the folder with the subjects as `file`")
        for file in wanted:
            for number, row in enumerate(read_rows(file, columns=self.columns), start=1):
                yield {**row, "id": f"{file.stem}/{number}" if path.is_dir() else str(number), "subject": file.stem}

    def licence_of(self, questions: Iterable[Question]) -> str:
        """Of the subjects that are asked."""
        subjects = {one.category for one in questions}
        parts = [self.licence] if subjects - set(NO_DERIVATIVES) else []
        return " AND ".join([*parts, *(["CC-BY-NC-ND-4.0"] if subjects & set(NO_DERIVATIVES) else [])])

    def question(self, row: dict[str, Any], place: str) -> Question:
        choices = [field(row, letter, place).strip() for letter in LETTERS]
        label = field(row, "answer", place).strip()
        if label not in LETTERS or len(label) != 1:
            raise BunbukuError(f"{place} has the answer {label!r}, which is none of A to D")
        return Question(
            # The files have no ids: the place in the file is one.
            id=field(row, "id", place),
            category=field(row, "subject", place),
            fields={
                "question": field(row, "question", place).strip(),
                "list": "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=True)),
                "signs": "\n".join(f"{sign} {choice}" for sign, choice in zip("@$*&", choices, strict=True)),
                "reversed": "\n".join(
                    f"{letter}. {choice}" for letter, choice in [*zip(LETTERS, choices, strict=True)][::-1]
                ),
                "options": ",".join(f"{letter}.{choice}" for letter, choice in zip(LETTERS, choices, strict=True)),
            },
            gold=(label,),
            choices=tuple(LETTERS),
            meanings=tuple(choices),
        )


class JMMLURobust(JMMLU):
    """The same questions with letters, with signs that have no order, and asking for the wrong choices one after another.

    What it is for is `consistency`: whether the answer stays the same when only the form changes.
    """

    type: Literal["jmmlu_robust"] = "jmmlu_robust"  # pyright: ignore[reportIncompatibleVariableOverride]
    phrasings: tuple[Phrasing, ...] = (
        Phrasing(
            name="letter",
            instruction="問題の答えを A、B、C、D から一つ選び、その一文字だけを出力してください。",
            input="問題：{question}\n{list}",
        ),
        Phrasing(
            name="signs",
            instruction="問題の答えの前に付いた記号（@、$、*、& のどれか一つ）に対応する文字を出力してください。@ は A、$ は B、* は C、& は D です。",
            input="問題：{question}\n{signs}",
        ),
        Phrasing(
            name="reversed",
            instruction="次の四つの選択肢のうち、三つは誤りです。誤りでないものの文字だけを出力してください。",
            input="{reversed}\n問題：{question}",
        ),
    )
