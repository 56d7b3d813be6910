"""Text that goes on from a prompt."""

from typing import TYPE_CHECKING

import pytest
from bunbuku_inference.encoding import Encoder, cut
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

transformers = pytest.importorskip("transformers")

TEXT = "The kettle danced on a rope and everybody laughed at the kettle."


@pytest.fixture(scope="module")
def words() -> "PreTrainedTokenizerFast":
    """Like SentencePiece's: a word's first piece holds the space before it, and a text's first space is lost."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=60, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator([TEXT] * 4, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def test_a_continuation_keeps_its_first_space(words: "PreTrainedTokenizerFast") -> None:
    encoder = Encoder(words, name="words")
    ids = encoder.prompt(TEXT)
    assert isinstance(ids, list)
    for at in range(1, len(ids)):
        assert str(words.decode(ids[:at])) + encoder.continuation(ids[:at], ids[at:]) == TEXT


@given(st.text("ab。"), st.lists(st.text("ab。", min_size=1), max_size=3))
def test_a_cut_text_holds_no_stop_string_and_loses_nothing_before_one(text: str, stops: list[str]) -> None:
    kept, stopped = cut(text, stops)
    assert not any(stop in kept for stop in stops)
    assert stopped == (kept != text)
    assert not stopped or any(text[len(kept) :].startswith(stop) for stop in stops)
