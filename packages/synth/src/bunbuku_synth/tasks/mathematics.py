"""Mathematics by level: problems with exact answers and the steps that lead to them."""

from typing import Annotated, Literal

from pydantic import Field

from bunbuku_synth.tasks.family import Dice, Family, Posed
from bunbuku_synth.tasks.problems import LEVELS

Shown = Literal["steps", "bare", "tagged"]
_ASK: dict[Shown, str] = {
    "steps": "途中の式も書き、最後の行に「答え: 」に続けて答えを書いてください。",
    "bare": "答えだけを書いてください。",
    "tagged": "考え方を<考え>と</考え>の間に書き、その後に答えだけを書いてください。",
}


class Mathematics(Family):
    """Solve a problem of mathematics."""

    type: Literal["mathematics"] = "mathematics"
    levels: Annotated[tuple[Annotated[int, Field(ge=1, le=6)], ...], Field(min_length=1)] = (1, 2, 3, 4, 5, 6)
    """From sums with brackets (1) to probabilities and remainders of powers (6)."""
    shown: Annotated[tuple[Shown, ...], Field(min_length=1)] = ("steps", "bare", "tagged")
    """What is asked for besides the answer."""

    def pose(self, dice: Dice, number: int) -> Posed:
        kinds = LEVELS[self.levels[number % len(self.levels)]]
        kind = dice.one("kind", tuple(kinds))
        problem = kinds[kind](dice)
        shown: Shown = dice.one("shown", self.shown)
        way = "\n".join(problem.steps)
        answer = {
            "steps": f"{way}\n答え: {problem.written}",
            "bare": problem.written,
            "tagged": f"<考え>\n{way}\n</考え>\n{problem.written}",
        }[shown]
        return Posed(f"{kind}-{shown}@1", f"{problem.question}\n{_ASK[shown]}", answer)
