"""Multiple choice by likelihood: a model's answer is the choice it finds likeliest.

Nothing is generated and nothing is parsed, so that knowing and formatting are not mixed up. Two readings are reported
side by side: the likeliest choice as it stands (`sum`), and the likeliest per UTF-8 byte of the choice (`per_byte`),
which does not favour short choices.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, BunbukuError, Dialogues
from bunbuku_inference import Failure, Message, Score, ScoreRequest

Style = Literal["plain", "chat"]

SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("style", pa.string()),
        ("id", pa.string()),
        ("task", pa.string()),
        ("template", pa.string()),
        ("prompt", pa.string()),
        ("choices", pa.list_(pa.string())),
        ("answer", pa.int32()),
        ("logprobs", pa.list_(pa.float64())),
        ("picked", pa.int32()),
        ("picked_per_byte", pa.int32()),
        ("failure", pa.string()),
    ]
)
"""One row a model, style and item; `logprobs` in nats, one a choice."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question with its choices."""

    id: str
    task: str
    messages: tuple[Message, ...]
    """The conversation up to the answer."""
    choices: tuple[str, ...]
    answer: int
    template: str = ""
    """How the question was written, `name@version`."""

    def requests(self, style: Style, template: str) -> list[ScoreRequest]:
        """What is asked of a model: the likelihood of each choice behind the question.

        `chat` renders the conversation with the chat template that travels with the model; `plain` puts its last
        question into `template`.
        """
        prompt = self.messages if style == "chat" else self.plain(template)
        return [ScoreRequest(prompt=prompt, completion=choice) for choice in self.choices]

    def plain(self, template: str) -> str:
        return template.replace("{question}", self.messages[-1].content)


@dataclass(frozen=True, slots=True)
class Pick:
    """What a model chose."""

    item: Item
    logprobs: tuple[float, ...]

    @property
    def picked(self) -> int:
        """The likeliest choice; the first of equals.

        >>> item = Item("1", "色", (Message(role="user", content="空の色は？"),), ("青い色", "赤"), 0)
        >>> Pick(item, (-4.0, -2.0)).picked, Pick(item, (-4.0, -2.0)).picked_per_byte
        (1, 0)
        """
        return _likeliest(self.logprobs)

    @property
    def picked_per_byte(self) -> int:
        lengths = [max(len(choice.encode()), 1) for choice in self.item.choices]
        return _likeliest([logprob / size for logprob, size in zip(self.logprobs, lengths, strict=True)])

    @property
    def right(self) -> bool:
        return self.picked == self.item.answer

    @property
    def right_per_byte(self) -> bool:
        return self.picked_per_byte == self.item.answer


@dataclass(frozen=True, slots=True)
class Unpicked:
    """An item of which a model could not say which choice is likeliest."""

    item: Item
    failure: str

    def row(self, model: str, style: Style) -> dict[str, object]:
        item = self.item
        facts = {"model": model, "style": style, "id": item.id, "task": item.task, "template": item.template}
        return {**facts, "choices": list(item.choices), "answer": item.answer, "failure": self.failure}


def picks(items: Sequence[Item], scores: Iterable[Score | Failure]) -> list[Pick | Unpicked]:
    """Scores in the order of all items' requests, put back to their items."""
    remaining = iter(scores)
    found: list[Pick | Unpicked] = []
    for item in items:
        own = [next(remaining) for _ in item.choices]
        failed = next((one for one in own if isinstance(one, Failure)), None)
        if failed is not None:
            found.append(Unpicked(item, f"{failed.reason}: {failed.detail}"))
        else:
            found.append(Pick(item, tuple(one.logprob for one in own if isinstance(one, Score))))
    return found


def chance(items: Sequence[Item]) -> float:
    """Accuracy of guessing evenly."""
    return sum(1 / len(item.choices) for item in items) / len(items)


def read_items(dialogues: Artifact[Dialogues]) -> Iterator[Item]:
    """The rows with choices; whatever the conversation ends with is the answer and is not shown to the model."""
    columns = ["id", "task", "messages", "choices", "answer", "template"]
    for file in dialogues.files():
        for batch in pq.ParquetFile(dialogues.path(file)).iter_batches(columns=columns):
            for row in batch.to_pylist():
                if row["choices"]:
                    yield _item(row, dialogues.path(file).name)


def rows(model: str, style: Style, template: str, found: Iterable[Pick]) -> list[dict[str, object]]:
    """Rows of `SCHEMA`."""
    return [
        {
            "model": model,
            "style": style,
            "id": pick.item.id,
            "task": pick.item.task,
            "template": pick.item.template,
            "prompt": pick.item.plain(template) if style == "plain" else _shown(pick.item.messages),
            "choices": list(pick.item.choices),
            "answer": pick.item.answer,
            "logprobs": list(pick.logprobs),
            "picked": pick.picked,
            "picked_per_byte": pick.picked_per_byte,
        }
        for pick in found
    ]


def _item(row: dict[str, Any], place: str) -> Item:
    choices, answer = tuple(row["choices"]), row["answer"]
    if len(choices) < 2 or answer is None or not 0 <= answer < len(choices):
        raise BunbukuError(
            f"item {row['id']!r} in {place} has {len(choices)} choices and answer {answer!r}",
            hint="an item needs two choices or more, and the place of the right one among them, counted from 0",
        )
    messages = tuple(Message(role=turn["role"], content=turn["content"]) for turn in row["messages"])
    if messages and messages[-1].role == "assistant":
        messages = messages[:-1]
    if not messages or messages[-1].role != "user":
        raise BunbukuError(f"item {row['id']!r} in {place} asks nothing: no user's turn comes before the answer")
    return Item(row["id"], row["task"], messages, choices, int(answer), row["template"])


def _likeliest(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda index: values[index])


def _shown(messages: Iterable[Message]) -> str:
    return "\n".join(f"{message.role}: {message.content}" for message in messages)
