"""Code: functions over lists and texts, described in Japanese, whose programs passed their tests in the sandbox.

A problem is a pipe of stages. Each stage is known in three ways that do not know of each other: what it is called, how it is
written in Python, and what it does. The program is put together of the second and run; the tests are worked out by the third.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from bunbuku_inference.sandbox import Limits, run_program
from pydantic import Field

from bunbuku_synth.tasks.family import Dice, Family, Posed


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a pipe."""

    said: str
    """What it does, as a clause."""
    line: str
    """The same in Python, over a name `x`."""
    does: Callable[[Any], Any]


def _filters(k: int) -> tuple[Stage, ...]:
    return (
        Stage("偶数だけを残し", "x = [n for n in x if n % 2 == 0]", lambda x: list(filter(lambda n: not n & 1, x))),
        Stage("奇数だけを残し", "x = [n for n in x if n % 2 == 1]", lambda x: list(filter(lambda n: n & 1, x))),
        Stage("正の数だけを残し", "x = [n for n in x if n > 0]", lambda x: list(filter(lambda n: n >= 1, x))),
        Stage(
            f"{k}より大きい数だけを残し",
            f"x = [n for n in x if n > {k}]",
            lambda x: list(filter(lambda n: n - k > 0, x)),
        ),
        Stage(
            f"{k}の倍数だけを残し", f"x = [n for n in x if n % {k} == 0]", lambda x: [n for n in x if n // k * k == n]
        ),
    )


def _maps(k: int) -> tuple[Stage, ...]:
    return (
        Stage("それぞれを2乗し", "x = [n * n for n in x]", lambda x: [pow(n, 2) for n in x]),
        Stage(f"それぞれを{k}倍し", f"x = [{k} * n for n in x]", lambda x: [sum([n] * k) for n in x]),
        Stage(f"それぞれに{k}を足し", f"x = [n + {k} for n in x]", lambda x: [n - -k for n in x]),
        Stage("それぞれの絶対値を取り", "x = [abs(n) for n in x]", lambda x: [max(n, -n) for n in x]),
        Stage(
            "隣り合う同じ値を一つにまとめ",
            "x = [n for i, n in enumerate(x) if i == 0 or n != x[i - 1]]",
            lambda x: _runs(x),
        ),
        Stage("昇順に並べ", "x = sorted(x)", lambda x: _insertion(x)),
        Stage("順番を逆にし", "x = x[::-1]", lambda x: list(reversed(x))),
    )


_ENDS = (
    Stage("その合計を返す", "return sum(x)", lambda x: _folded(x, lambda a, b: a + b, 0)),
    Stage("その個数を返す", "return len(x)", lambda x: sum(1 for _ in x)),
    Stage("最大値を返す（空なら None）", "return max(x) if x else None", lambda x: _insertion(x)[-1] if x else None),
    Stage("最小値を返す（空なら None）", "return min(x) if x else None", lambda x: _insertion(x)[0] if x else None),
    Stage("そのリストを返す", "return x", lambda x: x),
    Stage("異なる値の個数を返す", "return len(set(x))", lambda x: len(_runs(_insertion(x)))),
)
_TEXT = (
    Stage("順番を逆にし", "x = x[::-1]", lambda x: "".join(reversed(x))),
    Stage("小文字にし", "x = x.lower()", lambda x: "".join(c.lower() for c in x)),
    Stage(
        "母音（a, e, i, o, u）を除き",
        'x = "".join(c for c in x if c not in "aeiou")',
        lambda x: x.translate({ord(v): None for v in "aeiou"}),
    ),
    Stage("空白を除き", 'x = x.replace(" ", "")', lambda x: "".join(x.split(" "))),
    Stage(
        "隣り合う同じ文字を一つにまとめ",
        'x = "".join(c for i, c in enumerate(x) if i == 0 or c != x[i - 1])',
        lambda x: "".join(_runs(list(x))),
    ),
)
_TEXT_ENDS = (
    Stage("その文字列を返す", "return x", lambda x: x),
    Stage("その長さを返す", "return len(x)", lambda x: sum(1 for _ in x)),
    Stage(
        "回文なら True、そうでなければ False を返す",
        "return x == x[::-1]",
        lambda x: all(x[i] == x[-1 - i] for i in range(len(x) // 2)),
    ),
    Stage("文字 a の個数を返す", 'return x.count("a")', lambda x: len(x.split("a")) - 1),
)
_SAMPLES = ("Banana Bread", "level", "aabbcc  dd", "", "Tanuki and Kitsune", "a", "Never odd or even", "oooh AAA")


@dataclass(frozen=True, slots=True)
class Challenge:
    """A function that is asked for, a program for it, and its tests."""

    template: str
    question: str
    function: str
    source: str
    inputs: tuple[Any, ...]
    expected: tuple[Any, ...]

    def passed_by(self, source: str, limits: Limits) -> bool:
        """Whether a program passes the tests, in the sandbox."""
        return run_program(source, self.function, [[given] for given in self.inputs], limits).passes(self.expected)


class Code(Family):
    """Write a Python function that a text describes."""

    type: Literal["code"] = "code"
    max_stages: Annotated[int, Field(ge=1, le=4)] = 3
    """Before the last, which says what is returned."""
    tests: Annotated[int, Field(ge=3, le=30)] = 8
    limits: Limits = Limits()

    def pose(self, dice: Dice, number: int) -> Posed | None:
        asked = self.challenge(dice)
        if not asked.passed_by(asked.source, self.limits):
            return None
        return Posed(asked.template, asked.question, f"```python\n{asked.source}```")

    def challenge(self, dice: Dice) -> Challenge:
        """A drawn problem; its program has not been run yet."""
        text = dice.number("text", 0, 3) == 0
        stages = self._stages(dice, text=text)
        name = dice.one("function", ("solve", "answer", "compute", "process", "convert"))
        body = "\n".join(f"    {stage.line}" for stage in stages)
        inputs: list[Any] = dice.some("inputs", _SAMPLES, self.tests) if text else _lists(dice, self.tests)
        expected = [_through(stages, given) for given in inputs]
        what = "文字列" if text else "整数のリスト"
        said = "、".join(stage.said for stage in stages)
        shown = "\n".join(
            f"{name}({given!r}) → {value!r}" for given, value in zip(inputs[:2], expected[:2], strict=True)
        )
        question = f"{what} x を受け取り、{said}関数 {name} を Python で書いてください。コードだけを書いてください。\n\n例:\n{shown}"
        template = f"{'text' if text else 'list'}-{len(stages)}@1"
        return Challenge(template, question, name, f"def {name}(x):\n{body}\n", tuple(inputs), tuple(expected))

    def _stages(self, dice: Dice, *, text: bool) -> list[Stage]:
        count = dice.number("count", 1, self.max_stages)
        if text:
            return [*dice.some("stages", _TEXT, count), dice.one("end", _TEXT_ENDS)]
        k = dice.number("k", 2, 9)
        kinds = [dice.one(f"kind{n}", (_filters, _maps, _maps))(k) for n in range(count)]
        stages = [dice.one(f"stage{n}", kind) for n, kind in enumerate(kinds)]
        return [*dict.fromkeys(stages), dice.one("end", _ENDS)]


def _lists(dice: Dice, count: int) -> list[list[int]]:
    """The empty list, one of one number, and some of several."""
    lists: list[list[int]] = [[dice.number(f"v{n}.{at}", -20, 30) for at in range(n + 2)] for n in range(count - 2)]
    return [lists[0] + lists[0][:1] * 2, *lists[1:], [dice.number("single", -9, 9)], []]


def _through(stages: list[Stage], given: Any) -> Any:
    for stage in stages:
        given = stage.does(given)
    return json.loads(json.dumps(given))


def _runs(x: list[Any]) -> list[Any]:
    kept: list[Any] = []
    for one in x:
        if not kept or kept[-1] != one:
            kept.append(one)
    return kept


def _insertion(x: list[int]) -> list[int]:
    done: list[int] = []
    for n in x:
        at = next((i for i, other in enumerate(done) if other > n), len(done))
        done.insert(at, n)
    return done


def _folded(x: list[int], how: Callable[[int, int], int], start: int) -> int:
    for n in x:
        start = how(start, n)
    return start
