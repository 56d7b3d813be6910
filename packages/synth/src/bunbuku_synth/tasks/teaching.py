"""Tasks that a teacher writes: what it is asked, and what becomes of its reply.

A passage is drawn, the teacher is asked about it, and the reply becomes an item or is turned down for a reason. `count`
is the number of passages, which is what a teacher costs; the items are those of its replies that hold.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Self

from bunbuku_contracts import Config
from bunbuku_inference.request import Answer, Failure, Message, Request, Sampling
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from bunbuku_synth.item import Dropped, Item, Turn, dialogue
from bunbuku_synth.keys import Key, draw, key_of
from bunbuku_synth.language import content
from bunbuku_synth.sources import Language, Library, Passage
from bunbuku_synth.tasks.task import Task, choose
from bunbuku_synth.templates import Template, render, variables_of

_FROM_EXAMPLE = 3
"""Words that carry meaning: with so many of an example's in it, a reply is taken from there."""


class Example(Config):
    """A passage and a good reply, shown to the teacher as an earlier turn."""

    passage: str
    reply: str


class TeacherTemplate(Template):
    """What a teacher is asked, and the dialogue that is made of its reply."""

    language: Language
    """Of the passage, the request and the reply."""
    ask: str
    """What the teacher is asked. Variable: `passage`."""
    system: str = ""
    """What stands before it, if anything; taken as it is."""
    examples: tuple[Example, ...] = ()
    """Asked and answered before it: a small teacher learns the form from them."""

    @property
    def variables(self) -> frozenset[str]:
        """Every variable of the dialogue and of what is asked."""
        return super().variables | variables_of(self.ask)

    def turns(self, passage: str) -> tuple[Turn, ...]:
        """What the teacher is asked about a passage, examples first."""
        shown = [
            turn
            for example in self.examples
            for turn in dialogue(render(self.ask, {"passage": example.passage}), example.reply)
        ]
        system = (Turn("system", self.system),) if self.system else ()
        return *system, *shown, Turn("user", render(self.ask, {"passage": passage}))


class TeacherSampling(Config):
    """How the teacher chooses its words."""

    temperature: NonNegativeFloat = 0.0
    """0 takes the likeliest word each time."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_tokens: PositiveInt = 256


def request_of(turns: Sequence[Turn], sampling: Config, *, seed: int, reply_schema: str | None = None) -> Request:
    """The turns as a request to an engine; `sampling` is a config with the fields of its `Sampling`."""
    messages = tuple(Message(role=turn.role, content=turn.content) for turn in turns)
    return Request(prompt=messages, sampling=Sampling(**sampling.model_dump()), seed=seed, reply_schema=reply_schema)


def whole(outcome: Answer | Failure) -> str:
    """What a reply says; nothing if there is none, or it was cut off."""
    return "" if isinstance(outcome, Failure) or outcome.finish == "length" else outcome.text.strip()


class Written(NamedTuple):
    """What a reply became: the dialogue, or the reason why none, and the repairs it took."""

    messages: tuple[Turn, ...]
    reason: str | None
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to the teacher, and what is known about it."""

    key: Key
    passage: Passage
    template: TeacherTemplate
    sampling: TeacherSampling

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What the teacher is asked."""
        return self.template.turns(self.passage.text)

    def repeats_example(self, text: str) -> bool:
        """Whether a reply says what an example says, and the passage does not."""
        new = content(text) - content(self.passage.text)
        return any(
            len(new & content(one.passage + "\n" + one.reply)) >= _FROM_EXAMPLE for one in self.template.examples
        )

    @property
    def request(self) -> Request:
        """The same for an engine, with the item's own seed."""
        return request_of(self.turns, self.sampling, seed=self.key.seed)


class TeacherTask(Task, ABC):
    """A task whose answers a teacher writes."""

    language: Language = "ja"
    """Of the documents that passages come from, and of what is written."""
    min_chars: PositiveInt = 100
    """Of a passage, which is whole sentences."""
    max_chars: PositiveInt = 400
    max_sentences: PositiveInt | None = None
    """Of a passage; `None` leaves it to the lengths."""
    sampling: TeacherSampling = TeacherSampling()

    @property
    @abstractmethod
    def wordings(self) -> tuple[TeacherTemplate, ...]:
        """Every template of the task."""

    @abstractmethod
    def written(self, asked: Asked, text: str, *, cut_off: bool) -> Written:
        """What becomes of a reply."""

    def ask(self, library: Library, *, seed: int, teacher: str) -> Iterator[Asked]:
        """The requests, one for each drawn passage."""
        drawn = draw(self._passages(library, seed), self.count, name=_source_of, label=self.type, seed=seed)
        templates = [template for template in self.wordings if template.language == self.language]
        for passage in drawn:
            template = choose(templates, seed=seed, name=passage.source)
            key = key_of(
                task=self.model_dump(mode="json", exclude={"count", "templates"}),
                source=passage.source,
                template=template.model_dump(mode="json"),
                teacher=teacher,
                seed=seed,
            )
            yield Asked(key, passage, template, self.sampling)

    def outcome(
        self, asked: Asked, answer: Answer | Failure, *, teacher: str
    ) -> tuple[Item | Dropped, tuple[str, ...]]:
        """The item that a reply became, or what was dropped, and the repairs that were made."""
        if isinstance(answer, Failure):
            return Dropped(self._item(asked, asked.turns[-1:], teacher), f"failed_{answer.reason}"), ()
        written = self.written(asked, answer.text, cut_off=answer.finish == "length")
        if written.reason is None:
            return self._item(asked, written.messages, teacher), written.repairs
        raw = self._item(asked, (asked.turns[-1], Turn("assistant", answer.text)), teacher)
        return Dropped(raw, written.reason), written.repairs

    def _passages(self, library: Library, seed: int) -> Iterator[Passage]:
        found = library.passages(
            {self.language},
            task=self.type,
            min_chars=self.min_chars,
            max_chars=self.max_chars,
            max_sentences=self.max_sentences,
            seed=seed,
        )
        return (passage for _, passage in found)

    def _item(self, asked: Asked, messages: tuple[Turn, ...], teacher: str) -> Item:
        return Item(
            id=asked.key.id,
            messages=messages,
            task=self.type,
            language=self.language,
            source=asked.passage.source,
            template=asked.template.id,
            generator="teacher",
            teacher=teacher,
            seed=asked.key.seed,
            licence=asked.passage.licence,
        )

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.min_chars > self.max_chars:
            raise ValueError(f"`min_chars` {self.min_chars} is more than `max_chars` {self.max_chars}")
        if not any(template.language == self.language for template in self.wordings):
            raise ValueError(f"`language` is {self.language!r}, and none of the templates is in it")
        return self


def _source_of(passage: Passage) -> str:
    return passage.source
