"""Logic puzzles with exactly one solution: who stands where, and who tells the truth.

A world is drawn, true clues about it are added in a drawn order until only that world is left, and those that are not needed go.
Uniqueness is found by trying every world.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from bunbuku_synth.keys import shuffled
from bunbuku_synth.tasks.entailment import PEOPLE
from bunbuku_synth.tasks.family import Dice, Family, Posed

Kind = Literal["row", "liars"]
KINDS: tuple[Kind, ...] = ("row", "liars")
type World = tuple[int, ...]
"""Of a row: who stands at each place. Of liars: 1 for each who tells the truth."""


@dataclass(frozen=True, slots=True)
class Clue:
    """A sentence, and the worlds in which it is true."""

    text: str
    holds: Callable[[World], bool]


class Logic(Family):
    """Solve a puzzle that has one solution."""

    type: Literal["logic"] = "logic"
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)] = KINDS
    """People in a row; people who always lie or never do."""
    min_people: Annotated[int, Field(ge=3, le=6)] = 3
    max_people: Annotated[int, Field(ge=3, le=6)] = 5

    def pose(self, dice: Dice, number: int) -> Posed | None:
        count = dice.number("people", self.min_people, max(self.min_people, self.max_people))
        names = dice.some("names", PEOPLE, count)
        return _row(dice, names) if dice.one("kind", self.kinds) == "row" else _liars(dice, names)


def _row(dice: Dice, names: list[str]) -> Posed | None:
    worlds = list(itertools.permutations(range(len(names))))
    world = dice.one("world", tuple(worlds))
    clues = _enough(shuffled(tuple(_row_clues(names, world)), dice.seed, "clues"), worlds)
    if clues is None:
        return None
    said = "\n".join(f"- {clue.text}" for clue in clues)
    order = "、".join(names[who] for who in world)
    question = (
        f"{'、'.join(names)}の{len(names)}人が、左から右へ一列に並んでいます。次のことが分かっています。\n{said}\n"
        "左から順に、名前を「、」で区切って答えてください。"
    )
    return Posed(f"row-{len(names)}@1", question, order)


def _row_clues(names: Sequence[str], world: World) -> Iterator[Clue]:
    """Every true clue of four kinds."""
    at = {who: place for place, who in enumerate(world)}
    last = len(world) - 1
    for a, b in itertools.permutations(range(len(names)), 2):
        if at[a] < at[b]:
            yield Clue(f"{names[a]}は{names[b]}より左にいる。", lambda w, a=a, b=b: w.index(a) < w.index(b))
        if at[a] + 1 == at[b]:
            yield Clue(f"{names[a]}は{names[b]}のすぐ左にいる。", lambda w, a=a, b=b: w.index(a) + 1 == w.index(b))
        if abs(at[a] - at[b]) != 1 and a < b:
            yield Clue(
                f"{names[a]}と{names[b]}は隣り合っていない。", lambda w, a=a, b=b: abs(w.index(a) - w.index(b)) != 1
            )
    for a, name in enumerate(names):
        if at[a] not in (0, last):
            yield Clue(f"{name}は端にいない。", lambda w, a=a: w.index(a) not in (0, len(w) - 1))


def _liars(dice: Dice, names: list[str]) -> Posed | None:
    worlds = list(itertools.product((0, 1), repeat=len(names)))
    world = dice.one("world", tuple(worlds))
    said = [_said(dice, names, who, world) for who in range(len(names))]
    left = [w for w in worlds if all(clue.holds(w) == bool(w[who]) for who, clue in enumerate(said))]
    if left != [world]:
        return None
    lines = "\n".join(f"{name}「{clue.text}」" for name, clue in zip(names, said, strict=True))
    honest = [name for name, tells in zip(names, world, strict=True) if tells]
    question = (
        f"{'、'.join(names)}の{len(names)}人は、いつも本当のことを言う正直者か、いつも嘘を言う嘘つきのどちらかです。\n{lines}\n"
        "正直者をすべて、名前の出てきた順に「、」で区切って答えてください。いなければ「なし」と答えてください。"
    )
    return Posed(f"liars-{len(names)}@1", question, "、".join(honest) or "なし")


def _said(dice: Dice, names: Sequence[str], who: int, world: World) -> Clue:
    """What one of them says: true if they are honest, false if not."""
    others = [other for other in range(len(names)) if other != who]
    possible: list[Clue] = []
    for a in others:
        possible.append(Clue(f"{names[a]}は正直者だ。", lambda w, a=a: bool(w[a])))
        possible.append(Clue(f"{names[a]}は嘘つきだ。", lambda w, a=a: not w[a]))
    for a, b in itertools.combinations(others, 2):
        possible.append(
            Clue(f"{names[a]}と{names[b]}の少なくとも一人は嘘つきだ。", lambda w, a=a, b=b: not (w[a] and w[b]))
        )
        possible.append(Clue(f"{names[a]}と{names[b]}は同じ種類だ。", lambda w, a=a, b=b: w[a] == w[b]))
    for count in range(1, len(names)):
        possible.append(Clue(f"私たちの中に正直者はちょうど{count}人いる。", lambda w, count=count: sum(w) == count))
    fitting = [clue for clue in possible if clue.holds(world) == bool(world[who])]
    return dice.one(f"says{who}", tuple(fitting))


def _enough(clues: Sequence[Clue], worlds: Sequence[World]) -> list[Clue] | None:
    """Clues that leave one world, none of them needless; `None` if all of them leave more."""
    chosen: list[Clue] = []
    left = list(worlds)
    for clue in clues:
        fewer = [world for world in left if clue.holds(world)]
        if len(fewer) < len(left):
            chosen, left = [*chosen, clue], fewer
        if len(left) == 1:
            break
    if len(left) != 1:
        return None
    for clue in list(chosen):
        without = [one for one in chosen if one is not clue]
        if sum(all(one.holds(world) for one in without) for world in worlds) == 1:
            chosen = without
    return chosen
