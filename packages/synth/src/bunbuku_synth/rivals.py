"""Preferences out of what was made already: a solution against one that it won against while its dialogue was made.

`self_reward` and `solve` have a question answered several times, and a dialogue keeps beside its answer those that come to another one.
What shows that a rival is worse is not the same for all, and a config says which are enough.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated

from bunbuku_contracts import Config
from pydantic import Field, PositiveInt

from bunbuku_synth.item import Item, Rival, WorseBy
from bunbuku_synth.keys import draw, shuffled


class Rivals(Config):
    """Which of them, and how many."""

    tasks: tuple[str, ...] = ()
    """Of the dialogues; none takes all."""
    count: PositiveInt = 100
    """Dialogues whose answer is set against its rivals, at most."""
    each: PositiveInt = 1
    """Rivals of one dialogue, at most."""
    worse_by: Annotated[tuple[WorseBy, ...], Field(min_length=1)] = ("answer", "judge")
    """What is enough: the right answer is known and the rival's is another one (`answer`); most solutions come to the other one's answer,
    and a judge preferred that one in both orders (`judge`); most solutions come to the other one's (`agreement`)."""


def rivals_of(
    items: Sequence[Item], config: Rivals, counts: Counter[str], *, seed: int
) -> Iterator[tuple[Item, Rival]]:
    """Drawn dialogues, each with a rival that is worse by what is enough; all rivals are counted by what shows it."""
    fitting: dict[str, list[Rival]] = {}
    for item in items:
        if config.tasks and item.task not in config.tasks:
            continue
        counts.update(f"rivals.{rival.worse_by}" for rival in item.rivals or ())
        if enough := [rival for rival in item.rivals or () if rival.worse_by in config.worse_by]:
            fitting[item.id] = enough
    having = (item for item in items if item.id in fitting)
    for item in draw(having, config.count, name=lambda item: item.id, label="rivals", seed=seed):
        for rival in shuffled(fitting[item.id], item.seed, "rivals")[: config.each]:
            yield item, rival
