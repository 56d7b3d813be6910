"""Arithmetic in words: sums, differences, products and exact quotients, bare and in small stories.

Numbers are kanji numerals or digits, and a template may ask for the answer in the other ones. There is no source: the
problems themselves are drawn.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from bunbuku_synth.checkers import arithmetic
from bunbuku_synth.item import Item, dialogue
from bunbuku_synth.keys import pick
from bunbuku_synth.numerals import kanji
from bunbuku_synth.sources import Library
from bunbuku_synth.tasks.task import RuleTask, choose
from bunbuku_synth.templates import Template, check_variables

Operation = Literal["add", "subtract", "multiply", "divide"]
Numerals = Literal["kanji", "digits"]


LICENCE = "Apache-2.0"
"""Of items made from nothing but this package's own words."""


class Thing(NamedTuple):
    """What stories count, and the word that counts it."""

    thing: str
    counter: str


THINGS = tuple(
    Thing(*pair.split("/"))
    for pair in [
        "りんご/個",
        "みかん/個",
        "あめ/個",
        "卵/個",
        "本/冊",
        "ノート/冊",
        "鉛筆/本",
        "切手/枚",
        "カード/枚",
        "折り紙/枚",
    ]
)
NAMES = ("太郎", "花子", "健太", "恵子", "美咲", "トム", "メアリー")
VARIABLES = frozenset({"a", "b", "name", "thing", "counter", "answer"})


class ArithmeticTemplate(Template):
    """How a problem is put. Variables: `a`, `b`, `name`, `thing`, `counter`, and `answer` in the assistant's turn."""

    operation: Operation
    numerals: Numerals = "kanji"
    """Of the question."""
    answer_numerals: Numerals = "kanji"


def _plain() -> Iterator[ArithmeticTemplate]:
    """Bare problems: the same phrasings for the four operations."""
    words: dict[Operation, tuple[str, str, str]] = {
        "add": ("足す", "＋", "足し算"),
        "subtract": ("引く", "－", "引き算"),
        "multiply": ("かける", "×", "かけ算"),
        "divide": ("割る", "÷", "割り算"),
    }
    for operation, (verb, sign, noun) in words.items():
        yield ArithmeticTemplate(
            name=f"{operation}-words",
            operation=operation,
            user=f"{{{{ a }}}}{verb}{{{{ b }}}}はいくつですか。",
            assistant="{{ answer }}です。",
        )
        yield ArithmeticTemplate(
            name=f"{operation}-number-only",
            operation=operation,
            user=f"次の{noun}の答えを、数だけ書いてください。\n{{{{ a }}}}{verb}{{{{ b }}}}",
        )
        yield ArithmeticTemplate(
            name=f"{operation}-digits",
            operation=operation,
            numerals="digits",
            answer_numerals="digits",
            user=f"{{{{ a }}}} {sign} {{{{ b }}}} を計算してください。",
            assistant="答えは{{ answer }}です。",
        )
        yield ArithmeticTemplate(
            name=f"{operation}-to-kanji",
            operation=operation,
            numerals="digits",
            user=f"{{{{ a }}}}{sign}{{{{ b }}}}の答えを漢数字で書きなさい。",
        )


_STORIES = (
    ArithmeticTemplate(
        name="add-given",
        operation="add",
        user="{{ name }}さんは{{ thing }}を{{ a }}{{ counter }}持っています。"
        "{{ b }}{{ counter }}もらうと、全部で何{{ counter }}になりますか。",
        assistant="{{ answer }}{{ counter }}です。",
    ),
    ArithmeticTemplate(
        name="add-together",
        operation="add",
        numerals="digits",
        answer_numerals="digits",
        user="机の上に{{ thing }}が{{ a }}{{ counter }}、箱の中に{{ b }}{{ counter }}あります。合わせて何{{ counter }}ですか。",
        assistant="合わせて{{ answer }}{{ counter }}です。",
    ),
    ArithmeticTemplate(
        name="subtract-gave",
        operation="subtract",
        user="{{ name }}さんは{{ thing }}を{{ a }}{{ counter }}持っています。"
        "友達に{{ b }}{{ counter }}あげると、残りは何{{ counter }}ですか。",
        assistant="{{ answer }}{{ counter }}です。",
    ),
    ArithmeticTemplate(
        name="subtract-more",
        operation="subtract",
        numerals="digits",
        answer_numerals="digits",
        user="{{ thing }}が{{ a }}{{ counter }}必要です。今{{ b }}{{ counter }}あります。あと何{{ counter }}いりますか。",
        assistant="あと{{ answer }}{{ counter }}です。",
    ),
    ArithmeticTemplate(
        name="multiply-each",
        operation="multiply",
        user="{{ thing }}を一人に{{ a }}{{ counter }}ずつ、{{ b }}人に配ります。全部で何{{ counter }}いりますか。",
        assistant="{{ answer }}{{ counter }}です。",
    ),
    ArithmeticTemplate(
        name="divide-share",
        operation="divide",
        user="{{ thing }}が{{ a }}{{ counter }}あります。{{ b }}人で同じ数ずつ分けると、一人何{{ counter }}になりますか。",
        assistant="{{ answer }}{{ counter }}です。",
    ),
)
TEMPLATES = (*_plain(), *_STORIES)


@dataclass(frozen=True, slots=True)
class Problem:
    """Two numbers and what becomes of them."""

    operation: Operation
    a: int
    b: int

    @property
    def answer(self) -> int:
        """The exact result.

        >>> Problem("divide", 12, 4).answer
        3
        """
        match self.operation:
            case "add":
                return self.a + self.b
            case "subtract":
                return self.a - self.b
            case "multiply":
                return self.a * self.b
            case "divide":
                return self.a // self.b


class Arithmetic(RuleTask):
    """Work out one operation on two numbers."""

    type: Literal["arithmetic"] = "arithmetic"
    max_sum: Annotated[int, Field(ge=3, lt=10**8)] = 100
    """Largest sum, and largest number that is taken away from."""
    max_factor: Annotated[int, Field(ge=2, lt=10**4)] = 9
    """Largest factor, divisor and quotient."""
    templates: Annotated[tuple[ArithmeticTemplate, ...], Field(min_length=1)] = TEMPLATES

    def write(self, library: Library, *, seed: int, tally: Counter[str]) -> Iterator[Item]:
        """Problems in the order of their numbers; equal ones are left to `select`."""
        for number in range(self.drawn):
            yield self._item(number, seed)

    def problem(self, operation: Operation, seed: int) -> Problem:
        """A problem with a whole, positive answer."""
        if operation in ("add", "subtract"):
            total = 2 + pick(seed, "total", self.max_sum - 1)
            part = 1 + pick(seed, "part", total - 1)
            return Problem(operation, part, total - part) if operation == "add" else Problem(operation, total, part)
        one, other = (2 + pick(seed, name, self.max_factor - 1) for name in ("one", "other"))
        return Problem(operation, one, other) if operation == "multiply" else Problem(operation, one * other, other)

    def _item(self, number: int, seed: int) -> Item:
        template = choose(self.templates, seed=seed, name=str(number))
        key = self.key(number, template, seed=seed)
        problem = self.problem(template.operation, key.seed)
        thing = THINGS[pick(key.seed, "thing", len(THINGS))]
        words = {
            "a": write_number(problem.a, template.numerals),
            "b": write_number(problem.b, template.numerals),
            "name": NAMES[pick(key.seed, "name", len(NAMES))],
            "answer": write_number(problem.answer, template.answer_numerals),
        } | thing._asdict()
        return Item(
            id=key.id,
            messages=dialogue(template.render_user(**words), template.render_assistant(**words)),
            task=self.type,
            language="ja",
            source=None,
            template=template.id,
            generator=self.generator,
            teacher=None,
            seed=key.seed,
            licence=LICENCE,
        )

    @model_validator(mode="after")
    def _templates_fit(self) -> Self:
        check_variables(self.templates, VARIABLES)
        for template in self.templates:
            answer = write_number(12, template.answer_numerals)
            said = template.render_assistant(answer=answer, **dict.fromkeys(VARIABLES - {"answer"}, ""))
            if arithmetic(answer, said) != "right":
                raise ValueError(f"the answer of template {template.name!r} must hold `answer` and no other number")
        return self


def write_number(number: int, numerals: Numerals) -> str:
    """A number in the numerals asked for.

    >>> write_number(12, "kanji"), write_number(12, "digits")
    ('十二', '12')
    """
    return kanji(number) if numerals == "kanji" else str(number)
