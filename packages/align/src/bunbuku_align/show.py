"""What is trained of some dialogues or preferences, in colour: token by token, as the trainer gets it."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path

from bunbuku_contracts import Artifact, Checkpoint, Config, ConfigError, Dialogues, Preferences, view
from pydantic import PositiveInt
from rich.console import Console
from rich.text import Text

from bunbuku_align.examples import IGNORED, Example, prepare_dialogues, prepare_preferences
from bunbuku_align.parquet import read_dialogues, read_preferences

_GIVEN = ("dim", "dim italic")
_TRAINED = ("bold black on green", "bold black on bright_green")


class ShowConfig(Config):
    """What is looked at."""

    rows: PositiveInt = 5
    max_tokens: PositiveInt = 1024
    """Longer rows are cut or dropped as in training."""
    page: str | None = None
    """An HTML file to write the same to; it asks nothing of the network."""


@view("align.show")
def show(
    config: ShowConfig,
    checkpoint: Artifact[Checkpoint],
    dialogues: Artifact[Dialogues] | None = None,
    preferences: Artifact[Preferences] | None = None,
) -> None:
    """Print rows as the trainer gets them: what is trained on green, token by token, all else dim.

    Give `--dialogues` or `--preferences`; of a pair, both answers are shown after the prompt.
    """
    from bunbuku_align.template import ChatTokenizer

    if (dialogues is None) == (preferences is None):
        raise ConfigError("give either --dialogues or --preferences", hint="one of the two, to be shown")
    chat = ChatTokenizer(checkpoint.dir)
    if dialogues is not None:
        some = islice(read_dialogues(dialogues), config.rows)
        examples = prepare_dialogues(
            some, chat.render, chat.encode, max_tokens=config.max_tokens, held_out_share=0
        ).train
    else:
        assert preferences is not None
        pairs = prepare_preferences(
            islice(read_preferences(preferences), config.rows),
            chat.render,
            chat.encode,
            max_tokens=config.max_tokens,
            held_out_share=0,
        ).train
        examples = [
            Example(prompt + ids, [IGNORED] * len(prompt) + ids) for pair in pairs for prompt, ids in pair.answers
        ]
    console = Console(highlight=False, soft_wrap=True, record=config.page is not None)
    for number, example in enumerate(examples, 1):
        console.rule(f"{number}: {example.trained} of {example.length} tokens are trained")
        console.print(coloured(example, chat.tokenizer.decode))
    if config.page is not None:
        Path(config.page).write_text(console.export_html(), encoding="utf-8")


def coloured(example: Example, read: Callable[[Sequence[int]], str]) -> Text:
    """The row's text, two shades in turn for its tokens, on green where they are trained."""
    text, number = Text(), 0
    for trained, run in groupby(zip(example.input_ids, example.labels, strict=True), lambda pair: pair[1] != IGNORED):
        for piece in _pieces([id for id, _ in run], read):
            text.append(piece, style=(_TRAINED if trained else _GIVEN)[number % 2])
            number += 1
    return text


def _pieces(ids: Sequence[int], read: Callable[[Sequence[int]], str]) -> Iterator[str]:
    """The text of each token; tokens that are parts of one character come together."""
    start = 0
    for end in range(1, len(ids) + 1):
        piece = read(ids[start:end])
        if end == len(ids) or not piece.endswith("\ufffd"):
            yield piece
            start = end
