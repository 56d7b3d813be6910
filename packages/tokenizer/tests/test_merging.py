"""What continued training believes about its text is what an encoder makes of it."""

import io
import json
from itertools import pairwise

import pytest
from bunbuku_tokenizer.extension import Wanted, extension_of, row_of
from bunbuku_tokenizer.foreign_json import ForeignJson, opened
from bunbuku_tokenizer.foreign_model import ForeignModel
from bunbuku_tokenizer.merging import Merger, PairRules, Row, Rules, StringRules
from bunbuku_tokenizer.morphemes import mecab
from bunbuku_tokenizer.units import units
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer, sentencepiece_model_pb2
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

OLD = ["日本日本の狸はたた", "がはが、日本たのた a ab abab", "のののたは日た"]
LINES = st.lists(st.text("日本語のはがた狸、 a𠮷", min_size=1, max_size=30), min_size=1, max_size=12)


def wanted(**changes: int) -> Wanted:
    values = {"pieces": 40, "max_morphemes": 2, "max_chars": 8, "min_count": 2, **changes}
    return Wanted(**values, dictionary="ipadic")


@pytest.fixture(scope="module")
def pairs() -> ForeignJson:
    fast = Tokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    fast.train_from_iterator(OLD, trainers.BpeTrainer(vocab_size=275, initial_alphabet=alphabet, show_progress=False))
    return ForeignJson(json.loads(fast.to_str()), "theirs")


@pytest.fixture(scope="module")
def strings() -> ForeignModel:
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(OLD),
        model_writer=written,
        model_type="bpe",
        vocab_size=272,
        hard_vocab_limit=False,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
        num_threads=1,
    )
    proto = sentencepiece_model_pb2.ModelProto.FromString(written.getvalue())  # pyright: ignore[reportAttributeAccessIssue]
    return ForeignModel(proto, "theirs")


def merger(origin: ForeignJson | ForeignModel, lines: list[str], asked: Wanted) -> Merger:
    spellings = list(origin.spellings)
    rules: Rules = (
        PairRules(spellings, origin.merges())
        if isinstance(origin, ForeignJson)
        else StringRules(spellings, origin.scores)
    )
    return Merger(
        row=row_of(origin, lines, asked),
        rules=rules,
        single_bytes=origin.single_bytes,
        first_id=origin.first_id,
        max_morphemes=asked.max_morphemes,
        max_chars=asked.max_chars,
        min_count=asked.min_count,
    )


@settings(max_examples=80, deadline=None)
@given(lines=LINES)
def test_pairs_end_in_the_tokens_that_an_encoder_gives(pairs: ForeignJson, lines: list[str]) -> None:
    learning = merger(pairs, lines, wanted())
    learned = list(learning.learn(40))
    made = opened(extension_of(pairs, lines, wanted(), track=lambda items, _: iter(items)).content, "ours")
    encoded = [id for found in made.encode_batch_fast(lines, add_special_tokens=False) for id in found.ids]
    assert list(learning.row.tokens()) == encoded
    assert [piece.id for piece in learned] == list(range(pairs.first_id, pairs.first_id + len(learned)))


@settings(max_examples=80, deadline=None)
@given(lines=LINES)
def test_strings_end_in_the_tokens_that_sentencepiece_gives(strings: ForeignModel, lines: list[str]) -> None:
    learning = merger(strings, lines, wanted())
    list(learning.learn(40))
    extension = extension_of(strings, lines, wanted(), track=lambda items, _: iter(items))
    model = SentencePieceProcessor(model_proto=extension.model.SerializeToString())
    assert list(learning.row.tokens()) == [id for ids in model.encode(lines) for id in ids]


@settings(max_examples=40, deadline=None)
@given(lines=LINES, longest=st.integers(1, 3))
def test_pieces_lie_within_a_morpheme_or_are_whole_ones(strings: ForeignModel, lines: list[str], longest: int) -> None:
    runs: set[str] = set()
    for line in lines:
        for stretch in line.split():
            words = mecab()(stretch)
            ends = [0]
            for word in words:
                ends.append(ends[-1] + len(word))
                runs.update(word[a:b] for a in range(len(word)) for b in range(a + 1, len(word) + 1))
            for count in range(1, longest + 1):
                runs.update(stretch[a:b] for a, b in zip(ends, ends[count:], strict=False))
    for piece in merger(strings, lines, wanted(max_morphemes=longest)).learn(40):
        assert piece.spelling.decode() in runs


def test_the_most_frequent_pair_comes_first_and_the_bytes_of_a_character_count_for_each_they_save() -> None:
    rules = PairRules(
        [b"", *(character.encode() for character in "日本語"), *(bytes([byte]) for byte in range(256))], []
    )
    row, segment = Row(), mecab()
    for line, text in enumerate(("日本", "日本", "日本", "本語", "本語", "鰯")):
        tokens = [(("日本語".find(each) + 1), each.encode()) for each in text]
        if text == "鰯":
            tokens = [(4 + byte, bytes([byte])) for byte in text.encode()]
        row.add(tokens, units(text, segment, gap=2, after=10 * line))
    learning = Merger(row, rules, frozenset(range(4, 260)), 260, max_morphemes=2, max_chars=8, min_count=2)
    assert [piece.spelling.decode() for piece in learning.learn(9)] == ["日本", "本語", "鰯"]
    assert [piece.old_ids for piece in learning.pieces] == [(1, 2), (2, 3), (4 + 0xE9, 4 + 0xB0, 4 + 0xAF)]
    assert list(row.tokens()) == [260] * 3 + [261] * 2 + [262]


def test_a_line_begins_and_ends_a_morpheme(strings: ForeignModel) -> None:
    # Two morphemes, and the characters touch those of the next line.
    found = merger(strings, ["本語"] * 3, wanted()).learn(2)
    assert [piece.spelling.decode() for piece in found] == ["語", "本語"]


def test_numbers_of_morphemes_that_touch_are_neighbours() -> None:
    numbers = units("狸が 山、川", mecab(), gap=4).tolist()
    cut = [number for number, after in pairwise([*numbers, 0]) if number != after]
    first, second, space, third, comma, fourth = cut
    assert second - first == 1
    assert space == comma == -1
    assert third - second > 4 - 1
    assert fourth - third > 4
