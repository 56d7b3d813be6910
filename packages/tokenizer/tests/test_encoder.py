import subprocess
import sys
from pathlib import Path

import pytest
from bunbuku_contracts import Artifact, BunbukuError, Tokenizer
from bunbuku_tokenizer import Encoder
from bunbuku_tokenizer.adversarial import SNIPPETS, adversarial
from hypothesis import example, given, settings
from hypothesis import strategies as st

TEXTS = st.one_of(
    st.text(), st.lists(st.sampled_from(SNIPPETS)).map("".join), st.text(" \n\t\u2581wーが", max_size=200)
)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
@example(text="".join(SNIPPETS))
@example(text="")
def test_every_text_comes_back_from_either_form_and_both_give_the_same_ids(encoder: Encoder, text: str) -> None:
    ((ids, fast),) = encoder.encode_both([text])
    assert ids == fast
    assert encoder.decode(ids) == text
    assert encoder.decode_fast(fast) == text


@settings(max_examples=100, deadline=None)
@given(before=TEXTS, special=st.sampled_from(["<unk>", "<s>", "</s>", "<pad>", "<|reserved_3|>"]), after=TEXTS)
def test_no_text_spells_a_special_token(encoder: Encoder, before: str, special: str, after: str) -> None:
    for ids in next(encoder.encode_both([before + special + after])):
        assert min(ids) > 3
        assert max(ids) < 832 - 16


@pytest.mark.parametrize("unit", ["w", "ー", "です", "  x", "\n", "ば" * 3 + "か"])
def test_a_long_repetition_is_cut_alike_by_both_forms(encoder: Encoder, unit: str) -> None:
    # Every cut into the same pieces is as good as another: here sums that are not exact go different ways.
    ((ids, fast),) = encoder.encode_both([unit * 5000])
    assert ids == fast


def test_line_ends_tabs_and_indents_are_single_tokens(encoder: Encoder) -> None:
    for text in ("\n", "\n\n", "\t", *(" " * length for length in range(2, 25))):
        assert len(encoder.encode(text)) == 1, text


def test_nothing_is_wrong_with_strings_made_to_trip_tokenizers(encoder: Encoder) -> None:
    assert encoder.first_failure(adversarial(300, seed=1)) is None


def test_digits_stand_apart(encoder: Encoder) -> None:
    assert encoder.pieces("2026") == ["2", "0", "2", "6"]
    assert not [piece for piece in _pieces(encoder)[260:-16] if sum(map(str.isdecimal, piece)) > 1]


def test_what_heads_a_turn_of_a_chat_is_one_token(encoder: Encoder) -> None:
    assert encoder.pieces("\n\n### 応答:\n") == ["\n\n", "###▁応答:", "\n"]


def test_no_piece_is_empty_or_there_twice(encoder: Encoder) -> None:
    pieces = _pieces(encoder)
    assert all(pieces)
    assert len(set(pieces)) == len(pieces)


def test_special_tokens_have_the_agreed_ids_and_decode_to_nothing(encoder: Encoder) -> None:
    assert _pieces(encoder)[:4] == ["<unk>", "<s>", "</s>", "<pad>"]
    ids = [1, *encoder.encode("猫"), 2, *encoder.encode(" 狸"), 2, 3]
    assert encoder.decode(ids) == encoder.decode_fast(ids) == "猫 狸"


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(BunbukuError, match=r"tokenizer\.model is missing"):
        Encoder.open(tmp_path)


def test_a_trained_tokenizer_works_where_mecab_is_not_installed(tokenizer: Artifact[Tokenizer]) -> None:
    code = (
        "import sys; sys.modules['fugashi'] = sys.modules['ipadic'] = None\n"
        "from pathlib import Path; from bunbuku_tokenizer import Encoder\n"
        f"encoder = Encoder.open(Path({str(tokenizer.dir)!r}))\n"
        "print(encoder.decode(encoder.encode('MeCab なしで')))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=False)
    assert ran.stdout == "MeCab なしで\n", ran.stderr


def _pieces(encoder: Encoder) -> list[str]:
    return [encoder.sentencepiece.id_to_piece(id) for id in range(encoder.sentencepiece.get_piece_size())]
