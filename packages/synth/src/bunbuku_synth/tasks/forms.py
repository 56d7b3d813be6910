"""The forms an answer can be asked for in: the label itself, its number, its letter, or JSON.

A model that knows an answer and gives it in another form than was asked for is of no use to a program. So one question is put in
many forms, and what the assistant says is the right label in the form that was asked for, word for word.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Form = Literal["label", "number", "number_from_zero", "letter", "katakana", "json", "sentence"]

FORMS: tuple[Form, ...] = ("label", "number", "number_from_zero", "letter", "katakana", "json", "sentence")
_KATAKANA = "アイウエオカキクケコ"


@dataclass(frozen=True, slots=True)
class Asking:
    """How labels are asked for in one form, and what each answer is then."""

    request: str
    """The last lines of the question."""
    answers: tuple[str, ...]
    """What the assistant says, in the order of the labels."""


def asking(form: Form, labels: Sequence[str]) -> Asking:
    r"""How one of some labels is asked for.

    >>> asking("number", ["含意", "矛盾"]).request
    '次のうち当てはまるものの番号だけを、半角数字で答えてください。\n1. 含意\n2. 矛盾'
    >>> asking("json", ["含意", "矛盾"]).answers
    ('{"answer": "含意"}', '{"answer": "矛盾"}')
    """
    joined = "」「".join(labels)
    match form:
        case "label":
            return Asking(f"「{joined}」のどれか一つだけを答えてください。", tuple(labels))
        case "sentence":
            return Asking(
                f"「{joined}」のどれかを選び、「答えは〜です。」の形で答えてください。",
                tuple(f"答えは{label}です。" for label in labels),
            )
        case "json":
            return Asking(
                f'「{joined}」のどれかを、{{"answer": "…"}} の形のJSONで答えてください。',
                tuple(f'{{"answer": "{label}"}}' for label in labels),
            )
        case "number":
            return _listed("番号だけを、半角数字", [str(n) for n in range(1, len(labels) + 1)], labels)
        case "number_from_zero":
            return _listed("番号だけを、半角数字", [str(n) for n in range(len(labels))], labels)
        case "letter":
            return _listed("記号だけを、アルファベット", [chr(ord("A") + n) for n in range(len(labels))], labels)
        case "katakana":
            return _listed("記号だけを、カタカナ", list(_KATAKANA[: len(labels)]), labels)


def _listed(what: str, marks: Sequence[str], labels: Sequence[str]) -> Asking:
    lines = "\n".join(f"{mark}. {label}" for mark, label in zip(marks, labels, strict=True))
    return Asking(f"次のうち当てはまるものの{what}で答えてください。\n{lines}", tuple(marks))
