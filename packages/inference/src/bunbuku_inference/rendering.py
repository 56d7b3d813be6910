"""A conversation as text in which only the template's own words name special tokens, and that text as ids.

A library that is given a rendered conversation takes every `</s>` in it for the end of a turn, one that a user wrote
included. So the template is rendered a second time, with a stand-in for every message: what is then outside the
stand-ins is the template's own. Where nothing is forged the ids are those of Hugging Face's `apply_chat_template`.
"""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from bunbuku_inference.errors import EngineError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
"""Noncharacters around the number of a stand-in."""
_STAND_IN = re.compile(f"{_OPEN}(\\d+){_CLOSE}")

type Place = tuple[int, int]
"""Where a stretch of a text begins and ends."""
type Render = Callable[[Sequence[str]], str]
"""A conversation as text, whatever its messages say."""


class Spelling:
    """A tokenizer that names special tokens only where it is told to."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self.special = {
            token.content: id for id, token in tokenizer.added_tokens_decoder.items() if token.special and token.content
        }
        """Special tokens by what they are called."""
        self._forgeable = {id for id in self.special.values() if id != tokenizer.unk_token_id}
        longest_first = sorted(self.special, key=len, reverse=True)
        self._matcher = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def named(self, text: str) -> list[Place]:
        """Where a text reads like a special token."""
        return [found.span() for found in self._matcher.finditer(text)]

    def own(self, text: str, contents: Sequence[str], render: Render) -> list[Place]:
        """Where the template itself names special tokens in `text`, which it made of messages that say `contents`.

        Raises:
            EngineError: The template makes something else of a message with a special token in it than of others.
        """
        stand_ins = [f"{_OPEN}{number}{_CLOSE}" for number in range(len(contents))]
        whole, places = self._filled(render(stand_ins), contents)
        if whole == text:
            return places
        # The template trims or reads what is said. It may, as long as it sees all but the forged tokens.
        forged: list[str] = []
        masked = [self._matcher.sub(lambda found: _kept(found[0], forged), content) for content in contents]
        if not forged:
            return self.named(text)
        whole, places = self._filled(render(masked), forged)
        if whole != text:
            raise EngineError(
                f"the chat template treats a message with {forged[0]!r} in it unlike others",
                hint="leave special tokens out of what is said, or take a template that does not look for them",
            )
        return places

    def ids(self, text: str, own: Sequence[Place]) -> list[int]:
        """Ids of a text in which special tokens are named at `own` alone."""
        if list(own) == self.named(text):
            return list(self._tokenizer(text, add_special_tokens=False).input_ids)
        ids, at = list[int](), 0
        for start, end in own:
            ids += [*self.plain(text[at:start]), self.special[text[start:end]]]
            at = end
        return ids + self.plain(text[at:])

    def plain(self, text: str) -> list[int]:
        """Ids of a text in which nothing is special."""
        found = self._split(text)
        if not self._forgeable.intersection(found):
            return found
        # A unigram model may have the token among its pieces: it is cut, so that no piece is the whole of it.
        cuts = [0, *(start + 1 for start, _ in self.named(text)), len(text)]
        return [id for start, end in pairwise(cuts) for id in self._split(text[start:end])]

    def _split(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids)

    def _filled(self, rendered: str, contents: Sequence[str]) -> tuple[str, list[Place]]:
        """What was rendered with the contents put back, and where outside of them it names special tokens."""
        whole, at, places = "", 0, list[Place]()
        for mark in [*_STAND_IN.finditer(rendered), None]:
            words = rendered[at : mark.start() if mark else None]
            places += [(start + len(whole), end + len(whole)) for start, end in self.named(words)]
            whole += words
            if mark:
                number = int(mark[1])
                whole += contents[number] if number < len(contents) else mark[0]
                at = mark.end()
        return whole, places


def _kept(text: str, forged: list[str]) -> str:
    """The stand-in of a forged token, which is added to the others."""
    forged.append(text)
    return f"{_OPEN}{len(forged) - 1}{_CLOSE}"
