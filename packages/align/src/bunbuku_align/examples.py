"""What a trainer sees of a dialogue: token ids, and which of them are trained.

The tokenizer's chat template renders a dialogue and marks, with `{% generation %}`, what the assistant said, end token
included. That divides the text into *pieces*, given or said. Pieces are tokenised one by one and laid end to end, so

- the ids before an answer are those that inference computes for the prompt alone,
- no token straddles a border, whatever stands next to it, and
- text that merely looks like the template's opens no answer, and a special token that somebody wrote ends none: it is
  spelt in letters. Special are those that the template itself names.

Only what is said is trained. Every row that is read is trained, held out or dropped, and counted as such.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Literal, NamedTuple

from bunbuku_contracts import BunbukuError

from bunbuku_align.mix import Facts, Mix, Origin

IGNORED = -100
"""The label of a token that is not trained, as PyTorch's cross entropy has it."""

type Encode = Callable[["Piece"], Sequence[int]]
type Render = Callable[[Sequence["Message"]], "Rendered"]


class Message(NamedTuple):
    """One turn."""

    role: Literal["system", "user", "assistant"] | str
    content: str


class Piece(NamedTuple):
    """A stretch of a rendered dialogue."""

    text: str
    said: bool
    """Whether the assistant said it."""
    special: tuple[tuple[int, int], ...] = ()
    """Where in it the template names special tokens; anything else that looks like one is text."""


class Rendered(NamedTuple):
    """A dialogue as text, with the character ranges that the assistant said, and those of the template's special tokens."""

    text: str
    said: Sequence[tuple[int, int]]
    special: Sequence[tuple[int, int]] = ()

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The text divided where the assistant begins and ends; empty pieces are left out.

        >>> Rendered("問い:答え。", [(3, 6)]).pieces
        (Piece(text='問い:', said=False, special=()), Piece(text='答え。', said=True, special=()))
        """
        borders = [0, *chain.from_iterable(self.said), len(self.text)]
        return tuple(
            Piece(self.text[start:end], said=index % 2 == 1, special=self._special(start, end))
            for index, (start, end) in enumerate(pairwise(borders))
            if start < end
        )

    def _special(self, start: int, end: int) -> tuple[tuple[int, int], ...]:
        return tuple((first - start, last - start) for first, last in self.special if start <= first and last <= end)


class Dialogue(NamedTuple):
    """A row of a dialogues artifact, as far as training needs it."""

    id: str
    messages: Sequence[Message]
    task: str = "-"
    made_by: str = "-"
    """The teacher that wrote it, or the rule that made it."""
    domain: str = "-"
    """The column of that name; without one, the language."""

    @property
    def origin(self) -> Origin:
        """What it says of itself."""
        return Origin(self.task, self.made_by, self.domain)


class Preference(NamedTuple):
    """A row of a preferences artifact, as far as training needs it."""

    id: str
    prompt: Sequence[Message]
    chosen: str
    rejected: str
    task: str = "-"
    made_by: str = "-"
    """What made the rejected answer."""
    domain: str = "-"
    """The column of that name; without one, the language."""

    @property
    def origin(self) -> Origin:
        """What it says of itself."""
        return Origin(self.task, self.made_by, self.domain)


class Example(NamedTuple):
    """A dialogue as ids; `labels` repeats the id where it is trained and is -100 elsewhere."""

    input_ids: list[int]
    labels: list[int]

    @property
    def length(self) -> int:
        """Tokens that a model reads."""
        return len(self.input_ids)

    @property
    def trained(self) -> int:
        """How many of its tokens are trained."""
        return len(self.labels) - self.labels.count(IGNORED)

    @property
    def before(self) -> list[int]:
        """What is given before its first answer."""
        return self.input_ids[: next(place for place, label in enumerate(self.labels) if label != IGNORED)]

    @property
    def answer(self) -> list[int]:
        """Its first answer, with the end token."""
        rest = self.labels[len(self.before) :]
        return rest[: rest.index(IGNORED) if IGNORED in rest else len(rest)]


class Pair(NamedTuple):
    """A preference as ids: two answers to one prompt."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]

    @property
    def length(self) -> int:
        """Tokens that a model reads, of the longer of the two."""
        return len(self.prompt_ids) + max(len(self.chosen_ids), len(self.rejected_ids))

    @property
    def answers(self) -> tuple[tuple[list[int], list[int]], ...]:
        """The prompt with the chosen, and with the rejected answer."""
        return (self.prompt_ids, self.chosen_ids), (self.prompt_ids, self.rejected_ids)


@dataclass
class Prepared[T]:
    """Rows ready for a trainer, and what became of every row that was read."""

    train: list[T] = field(default_factory=list)
    held_out: list[T] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    mix: Mix = field(default_factory=Mix)
    """Of the rows that are trained."""

    def keep(self, made: T, origin: Origin, facts: Facts, *, held_out: bool) -> None:
        """Add what was made of a row to one side and count it."""
        (self.held_out if held_out else self.train).append(made)
        self.count("held_out" if held_out else "train", origin)
        if not held_out:
            self.mix.add(facts, origin)

    def count(self, fate: str, origin: Origin) -> None:
        """Count what became of a row."""
        self.counts[fate] += 1
        self.mix.became(fate, origin)

    def check(self, what: str) -> None:
        """Raise unless there is something to train on."""
        if not self.train:
            found = ", ".join(f"{count} {name}" for name, count in sorted(self.counts.items())) or "none at all"
            raise BunbukuError(
                f"no {what} are left to train on ({found})",
                hint="look at `max_tokens` and `held_out_share`, and at the roles of the rows",
            )


def is_held_out(messages: Sequence[Message], share: float) -> bool:
    """Whether rows that begin with this question are kept from training, by the hash of its text alone.

    All rows of one question stay on one side, whatever their ids, their answers and the turns that follow, in dialogues as
    in preferences, and whatever is added to the data; `share` of all questions are held out. Widths of letters and
    blanks make no other question.

    >>> [is_held_out([Message("user", text)], 0.5) for text in ("春", "夏", "秋", "冬", " 冬")]
    [False, False, True, True, True]
    """
    asked = next((message.content for message in messages if message.role == "user"), "")
    letters = "".join(unicodedata.normalize("NFKC", asked).split())
    digest = hashlib.sha256(letters.encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def prepare_dialogues(
    rows: Iterable[Dialogue], render: Render, encode: Encode, *, max_tokens: int, held_out_share: float
) -> Prepared[Example]:
    """Examples of at most `max_tokens`, of which every trained token belongs to a whole answer.

    A longer dialogue is cut after the last answer that fits (`truncated`), or dropped if none does
    (`dropped.too_long`); one without an answer is dropped (`dropped.no_answer`).
    """
    prepared = Prepared[Example]()
    for row in rows:
        prepared.counts["seen"] += 1
        check_roles(row.id, row.messages)
        whole = [(encode(piece), piece.said) for piece in render(row.messages).pieces]
        if not any(said for _, said in whole):
            prepared.count("dropped.no_answer", row.origin)
            continue
        kept = cut_after_answer(whole, max_tokens)
        if not kept:
            prepared.count("dropped.too_long", row.origin)
            continue
        if len(kept) < len(whole):
            prepared.count("truncated", row.origin)
        example = Example(
            [id for ids, _ in kept for id in ids],
            [id if said else IGNORED for ids, said in kept for id in ids],
        )
        facts = Facts(sum(said for _, said in kept), example.length, example.trained)
        prepared.keep(example, row.origin, facts, held_out=is_held_out(row.messages, held_out_share))
    prepared.check("dialogues")
    return prepared


def prepare_preferences(
    rows: Iterable[Preference], render: Render, encode: Encode, *, max_tokens: int, held_out_share: float
) -> Prepared[Pair]:
    """Pairs of which prompt and either answer have at most `max_tokens`; a longer one is dropped (`dropped.too_long`).

    An answer is never cut: a cut answer is another answer, and nobody preferred that one.
    """
    prepared = Prepared[Pair]()
    for row in rows:
        prepared.counts["seen"] += 1
        if row.chosen == row.rejected:
            raise BunbukuError(
                f"preference {row.id!r} has the same text as its chosen and its rejected answer, {row.chosen!r}",
                hint="leave that row out: there is nothing to prefer",
            )
        prompt_ids, chosen_ids = _answer_ids(row, row.chosen, render, encode)
        pair = Pair(prompt_ids, chosen_ids, _answer_ids(row, row.rejected, render, encode)[1])
        if pair.length > max_tokens:
            prepared.count("dropped.too_long", row.origin)
            continue
        answers = len(pair.chosen_ids) + len(pair.rejected_ids)
        turns = 1 + sum(message.role == "assistant" for message in row.prompt)
        facts = Facts(turns, 2 * len(pair.prompt_ids) + answers, answers)
        prepared.keep(pair, row.origin, facts, held_out=is_held_out(row.prompt, held_out_share))
    prepared.check("preferences")
    return prepared


def cut_after_answer[T: Sequence[int]](pieces: Sequence[tuple[T, bool]], max_tokens: int) -> list[tuple[T, bool]]:
    """All pieces if they fit, else the longest beginning that fits and ends with an answer, else none."""
    total, end = 0, 0
    for index, (ids, said) in enumerate(pieces):
        total += len(ids)
        if total > max_tokens:
            return list(pieces[:end])
        if said:
            end = index + 1
    return list(pieces)


def check_roles(id: str, messages: Sequence[Message]) -> None:
    """Raise unless an optional system turn is followed by user and assistant in turn."""
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    for index, message in enumerate(turns):
        expected = "assistant" if index % 2 else "user"
        if message.role != expected:
            raise BunbukuError(
                f"dialogue {id!r}: turn {index + 1} is of {message.role!r}, not of {expected!r}",
                hint="an optional system turn comes first, then user and assistant take turns, the user first",
            )


def _answer_ids(row: Preference, answer: str, render: Render, encode: Encode) -> tuple[list[int], list[int]]:
    """The ids before an answer, and the ids of the answer with its end token."""
    messages = [*row.prompt, Message("assistant", answer)]
    check_roles(row.id, messages)
    pieces = render(messages).pieces
    last = max(index for index, piece in enumerate(pieces) if piece.said)
    before = [id for piece in pieces[:last] for id in encode(piece)]
    return before, list(encode(pieces[last]))
