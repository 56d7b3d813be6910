"""A chain that is written down in the config alone: what it begins from, its links, and the dialogue that comes of them.

For what needs no checks of its own beyond language, length and numbers: one teacher writes in English, another translates, a third
judges. A recipe with more to it is a class (`bunbuku_synth.tasks.chain`).
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, Self

from bunbuku_contracts import Config
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from bunbuku_synth.item import Turn
from bunbuku_synth.replies import flaw, new_numbers, repair
from bunbuku_synth.sources import Language, Library
from bunbuku_synth.tasks.arithmetic import LICENCE
from bunbuku_synth.tasks.chain import Finished, Reading, Start, Step, Wording, Work, draw_starts
from bunbuku_synth.tasks.judging import JUDGE, JudgedTask
from bunbuku_synth.templates import render, variables_of

_BEGINNINGS = {"passages": {"passage"}, "pairs": {"ja", "en"}, "things": {"thing"}}


class Link(Step):
    """A step, and what its reply must be like."""

    language: Language = "ja"
    """Of the reply."""
    of: str | None = None
    """The variable that it says again, if it does: `passage`, or the name of an earlier link. Then its numbers are all from there."""
    min_ratio: PositiveFloat = 0.2
    """Its length over that of what it says again, in characters. English takes about two and a half times as many as Japanese."""
    max_ratio: PositiveFloat = 5.0

    def flaw(self, text: str, work: Work) -> str | None:
        """Why a reply is not to be kept."""
        if (reason := flaw(text, self.language)) or self.of is None:
            return reason
        source = work.words[self.of]
        ratio = len(text) / len(source)
        work.measures[f"length_ratio.{self.name}"] = ratio
        if not self.min_ratio <= ratio <= self.max_ratio:
            return "length"
        return "changes_numbers" if new_numbers(source, text) else None


class Line(Config):
    """A turn of the dialogue."""

    role: Literal["system", "user", "assistant"]
    content: str
    """Variables: those of the beginning, and the links by their names."""


class Chained(JudgedTask):
    """Take something through links of one's own."""

    type: Literal["chain"] = "chain"
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """What items, metrics and stores call it."""
    begin: Literal["passages", "pairs", "things"] = "passages"
    """Variables: `passage`; `ja` and `en`; `thing`."""
    things: tuple[str, ...] = ()
    """What to begin from, one by one."""
    language: Language = "ja"
    """Of the passages."""
    min_chars: PositiveInt = 200
    max_chars: PositiveInt = 1200
    links: Annotated[tuple[Link, ...], Field(min_length=1)]
    """In any order: a link comes after those that its wording names."""
    dialogue: Annotated[tuple[Line, ...], Field(min_length=2)]
    """The last turn is the assistant's."""

    @property
    def label(self) -> str:
        return self.name

    @property
    def own_steps(self) -> tuple[Step, ...]:
        return self.links

    @property
    def judged(self) -> Wording:
        """There is none for chains in general; `_holds_together` asks for it."""
        raise AssertionError(self.name)

    def starts(self, library: Library, *, seed: int) -> Iterable[Start]:
        return draw_starts(self._candidates(library, seed), self.count, label=self.label, seed=seed)

    def _candidates(self, library: Library, seed: int) -> Iterator[Start]:
        match self.begin:
            case "things":
                yield from (Start(thing, {"thing": thing}, None, LICENCE) for thing in dict.fromkeys(self.things))
            case "pairs":
                for pair in library.pairs():
                    yield Start(pair.id, {"ja": pair.ja, "en": pair.en}, pair.id, pair.licence)
            case "passages":
                lengths = {"min_chars": self.min_chars, "max_chars": self.max_chars}
                for _, passage in library.passages({self.language}, task=self.label, seed=seed, **lengths):
                    yield Start(passage.source, {"passage": passage.text}, passage.source, passage.licence)

    def read_own(self, step: Step, work: Work, text: str, *, cut_off: bool) -> Reading:
        link = next(link for link in self.links if link.name == step.name)
        repaired = repair(text, link.language, cut_off=False)
        reason = "cut_off" if cut_off else link.flaw(repaired.text, work)
        return Reading({step.name: repaired.text}, reason, repaired.repairs)

    def finish(self, work: Work) -> Finished:
        turns = tuple(Turn(line.role, render(line.content, work.words)) for line in self.dialogue)
        return Finished(turns, self._language)

    @property
    def _language(self) -> Language:
        """Of the last link that the answer names."""
        named = variables_of(self.dialogue[-1].content)
        languages: list[Language] = [link.language for link in self.links if link.name in named]
        return languages[-1] if languages else "ja"

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        known = _BEGINNINGS[self.begin] | {link.name for link in self.links}
        named = {
            **{f"link {link.name!r}": link.variables | ({link.of} if link.of else set()) for link in self.links},
            "`dialogue`": frozenset[str]().union(*(variables_of(line.content) for line in self.dialogue)),
        }
        for where, names in named.items():
            if unknown := sorted(names - known):
                raise ValueError(f"{where} names {unknown[0]!r}: there are only {sorted(known)}")
        if self.dialogue[-1].role != "assistant":
            raise ValueError(f"the last turn of `dialogue` is the {self.dialogue[-1].role}'s, not the assistant's")
        if self.judge and not self.judge.wordings:
            raise ValueError(
                f"`judge` has no `wordings`: nobody knows what the {JUDGE} of {self.name!r} is to be asked"
            )
        if self.begin == "things" and not self.things:
            raise ValueError("`begin` is 'things', and `things` names none")
        _ = self.ordered
        return self
