"""Scripts: how a dialogue reads as plain text, so that pre-training meets questions and answers before fine-tuning does.

A script is a form with a weight. Which one an item takes is drawn from its id, and further copies of an item take other
scripts as long as there are any. Scripts make text and no special tokens: a corpus has none, and the tokenizer makes none of
what is written in one.
"""

import math
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Annotated, ClassVar, Literal, Self

from bunbuku_contracts import Config
from jinja2 import TemplateError
from pydantic import Field, model_validator

from bunbuku_synth.item import Item, Turn
from bunbuku_synth.templates import render, variables_of

_SAMPLE = (Turn("system", "短く。"), Turn("user", "空は？"), Turn("assistant", "青です。"))


class Script(Config):
    """A form of dialogues; `name` is what documents state."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """How often it is taken, beside the weights of the others."""

    def text(self, turns: Sequence[Turn]) -> str:
        """The dialogue as a document."""
        raise NotImplementedError


class Labelled(Script):
    """Every turn after the name of who speaks.

    >>> print(Labelled(name="talk").text(_SAMPLE[1:]))
    ユーザー：空は？
    アシスタント：青です。
    """

    type: Literal["labelled"] = "labelled"
    system: str | None = "指示"
    """Name of the instructions at the head; none leaves them out."""
    user: str = "ユーザー"
    assistant: str = "アシスタント"
    mark: str = "："
    """Between a name and what is said."""
    between: str = "\n"
    """Between two turns."""

    def text(self, turns: Sequence[Turn]) -> str:
        names = {"system": self.system, "user": self.user, "assistant": self.assistant}
        said = [f"{name}{self.mark}{turn.content}" for turn in turns if (name := names[turn.role]) is not None]
        return self.between.join(said)


class Templated(Script):
    r"""Whatever a Jinja2 template makes of `turns`, each with `role` and `content`.

    >>> page = Templated(name="page", template="{% for turn in turns %}{{ turn.content }}\n\n{% endfor %}")
    >>> print(page.text(_SAMPLE[1:]))
    空は？
    <BLANKLINE>
    青です。
    """

    VARIABLES: ClassVar[frozenset[str]] = frozenset({"turns"})

    type: Literal["templated"] = "templated"
    template: str

    def text(self, turns: Sequence[Turn]) -> str:
        return render(self.template, {"turns": turns})

    @model_validator(mode="after")
    def _says_every_answer(self) -> Self:
        try:
            if unknown := sorted(variables_of(self.template) - self.VARIABLES):
                raise ValueError(f"script {self.name!r} names {unknown[0]!r}: there is only 'turns'")
            said = self.text(_SAMPLE)
        except TemplateError as error:
            raise ValueError(f"script {self.name!r} is not valid Jinja2: {error}") from error
        if missing := next((turn for turn in _SAMPLE[1:] if turn.content not in said), None):
            raise ValueError(f"script {self.name!r} leaves out what the {missing.role} says: {said!r}")
        return self


AnyScript = Annotated[Labelled | Templated, Field(discriminator="type")]

SCRIPTS: tuple[AnyScript, ...] = (
    Labelled(name="talk", weight=2),
    Labelled(name="talk-latin", system="system", user="user", assistant="assistant", mark=": "),
    Labelled(name="question-answer", system="条件", user="質問", assistant="回答"),
    Labelled(name="letters", system="注", user="問", assistant="答", between="\n\n"),
    Templated(name="page", template="{% for turn in turns %}{{ turn.content }}\n\n{% endfor %}"),
)
"""The forms that an item may take if nothing is said."""


def copies(item: Item, weight: float) -> int:
    """How often an item is told: the whole part of its weight, and once more with the chance of the rest.

    >>> from dataclasses import replace
    >>> made = Item("a", _SAMPLE, "translate", "ja", None, "t@1", "rule:translate", None, 1, "CC0-1.0")
    >>> copies(made, 2.0), copies(made, 0.0)
    (2, 0)
    >>> 200 < sum(copies(replace(made, id=str(n)), 0.25) for n in range(1000)) < 300
    True
    """
    whole = math.floor(weight)
    return whole + (_chance(item.id, "copies") < weight - whole)


def told(item: Item, weight: float, scripts: Sequence[Script]) -> Iterator[tuple[Script, str]]:
    """An item in as many copies as its weight asks for, each with its script.

    The order of scripts is a draw without replacement by weight (Efraimidis and Spirakis 2006): the smallest of -ln(u)/weight
    comes first.
    """
    order = sorted(scripts, key=lambda one: -math.log(_chance(item.id, one.name)) / one.weight)
    for number in range(copies(item, weight)):
        script = order[number % len(order)]
        yield script, script.text(item.messages)


def _chance(id: str, label: str) -> float:
    """Above 0 and at most 1, drawn for an item and a purpose."""
    return (int.from_bytes(sha256(f"{id}\n{label}".encode()).digest()[:8]) + 1) / 2**64
