import json
from pathlib import Path

import pytest
from bunbuku_contracts import Artifact, BunbukuError, Tokenizer
from bunbuku_tokenizer.reader import HuggingFaceReader, Reader, SentencePieceReader, open_reader
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, normalizers

TEXT = "狸は①ｱｲｳの茶釜から\n尾を出した。 the kettle 👩‍👧 𠮷"


@pytest.fixture(params=["model", "json", "bytes", "llama"])
def reader(request: pytest.FixtureRequest, nmt_nfkc: Path, byte_level: Path, tokenizer: Artifact[Tokenizer]) -> Reader:
    """A foreign model that normalises, our own as Hugging Face has it, and BPE over bytes and as Llama 2 has it."""
    if request.param == "llama":
        return HuggingFaceReader(_llama())
    places = {"model": nmt_nfkc, "json": tokenizer.dir / "tokenizer.json", "bytes": byte_level}
    return open_reader(places[request.param])


def _llama() -> FastTokenizer:
    """BPE over characters with byte fallback; a space is put before the text."""
    characters = sorted(set(TEXT.replace("𠮷", "").replace(" ", "▁")))
    merges = [("茶", "釜"), ("▁", "the"), ("th", "e"), ("t", "h")]
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *characters, "茶釜", "th", "the", "▁the"]
    vocabulary = {piece: id for id, piece in enumerate(pieces)}
    fast = FastTokenizer(models.BPE(vocabulary, merges[::-1], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    fast.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    fast.decoder = decoders.Sequence(steps)
    return fast


def test_the_tokens_of_a_text_cover_its_characters_in_order(reader: Reader) -> None:
    spans = reader.spans(TEXT)
    assert spans.ids == reader.encode(TEXT)
    assert max(spans.ends) == len(TEXT)
    assert list(spans.starts) == sorted(spans.starts)
    covered = {place for start, end in zip(spans.starts, spans.ends, strict=True) for place in range(start, end)}
    assert covered >= {place for place, character in enumerate(TEXT) if not character.isspace()}


@settings(max_examples=100, deadline=None)
@given(text=st.text("狸は茶釜から尾を出した。 the①ｱ㈱👩‍\n", max_size=40))
def test_a_token_stands_for_the_characters_it_spells(byte_level: Path, text: str) -> None:
    reader = open_reader(byte_level)
    spans = reader.spans(text)
    for id, start, end in zip(spans.ids, spans.starts, spans.ends, strict=True):
        if not reader.partial[id]:
            assert text[start:end].strip() == (reader.spellings[id] or "").strip()


def test_offsets_of_a_model_that_normalises_are_those_of_the_text_as_given(nmt_nfkc: Path) -> None:
    reader = open_reader(nmt_nfkc)
    text = "①は㈱アのｶﾞ猫"
    spans = reader.spans(text)
    cat = [(start, end) for start, end in zip(spans.starts, spans.ends, strict=True) if text[start:end].endswith("猫")]
    assert cat[-1][1] == len(text) == 8
    assert reader.decode(reader.encode(text)) != text


def test_bytes_of_a_missing_character_are_partial_in_every_kind(reader: Reader) -> None:
    ids = reader.encode("𠮷")
    partial = [id for id in ids if reader.partial[id]]
    assert len(partial) >= 2
    assert all(reader.spellings[id] is None for id in partial)
    assert not reader.partial[reader.encode("the")].any()


def test_a_piece_is_spelt_as_it_decodes(reader: Reader) -> None:
    spelt = {id: spelling for id, spelling in enumerate(reader.spellings) if spelling}
    assert len(spelt) > 20
    for id, spelling in spelt.items():
        assert reader.decode([id]).strip(" ") == spelling.strip(" ")


def test_a_special_token_in_a_text_is_only_text(byte_level: Path) -> None:
    fast = FastTokenizer.from_file(str(byte_level))
    (special,) = (id for id, added in fast.get_added_tokens_decoder().items() if added.special)
    assert special in fast.encode("終わり<|end|>").ids
    reader = HuggingFaceReader(fast)
    assert special not in reader.encode("終わり<|end|>")
    assert reader.decode(reader.encode("終わり<|end|>")) == "終わり<|end|>"
    assert reader.spellings[special] is None


def test_a_token_that_was_added_is_spelt_as_it_stands(byte_level: Path) -> None:
    fast = FastTokenizer.from_file(str(byte_level))
    fast.add_tokens(["é狸"])
    reader = HuggingFaceReader(fast)
    assert [reader.spellings[id] for id in reader.encode("é狸")] == ["é狸"]


def test_a_length_limit_in_the_file_is_lifted(byte_level: Path, tmp_path: Path) -> None:
    fast = FastTokenizer.from_file(str(byte_level))
    fast.enable_truncation(3)
    fast.enable_padding(length=9)
    fast.save(str(tmp_path / "tokenizer.json"))
    reader = open_reader(tmp_path)
    assert len(reader.encode("吾輩は猫である")) > 3
    assert reader.decode(reader.encode("猫")) == "猫"


def test_word_pieces_are_spelt_without_their_marks(tmp_path: Path) -> None:
    vocabulary = {"[UNK]": 0, "茶": 1, "##釜": 2}
    fast = FastTokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    fast.decoder = decoders.WordPiece(cleanup=False)
    reader = HuggingFaceReader(fast)
    assert list(reader.spellings) == [None, "茶", "釜"]
    assert reader.decode(reader.encode("茶釜")) == "茶釜"


def test_ids_that_no_piece_has_are_holes() -> None:
    fast = FastTokenizer(models.WordLevel({"猫": 0, "狸": 5}, unk_token="猫"))
    assert list(HuggingFaceReader(fast).spellings) == [None, None, None, None, None, "狸"]


def test_a_folder_is_read_by_its_json_else_its_model(tmp_path: Path, nmt_nfkc: Path, byte_level: Path) -> None:
    (tmp_path / "some.model").write_bytes(nmt_nfkc.read_bytes())
    assert isinstance(open_reader(tmp_path), SentencePieceReader)
    (tmp_path / "tokenizer.json").write_bytes(byte_level.read_bytes())
    assert isinstance(open_reader(tmp_path), HuggingFaceReader)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.model", b"", "does not read as a SentencePiece model"),
        ("text.model", "吾輩は猫である".encode(), "does not read as a SentencePiece model"),
        ("ranks.model", b"IQ== 0\nIg== 1\n", "does not read as a SentencePiece model"),
        ("tokenizer.json", b"{", "it is not JSON"),
        ("tokenizer.json", b'{"a": 1}', "it has no `model`"),
        ("tokenizer.json", b"{\xff", "it is not JSON"),
        ("tokenizer.json", b'{"model": {"type": "Odd"}}', "is not a tokenizer of Hugging Face's"),
        ("tokenizer_config.json", json.dumps({"tokenizer_class": "X"}).encode(), "it has no `model`"),
    ],
)
def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BunbukuError, match=says) as caught:
        open_reader(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_that_was_cut_off_is_named(tmp_path: Path, nmt_nfkc: Path) -> None:
    (tmp_path / "cut.model").write_bytes(nmt_nfkc.read_bytes()[:-1000])
    with pytest.raises(BunbukuError, match=r"cut\.model does not read as a SentencePiece model"):
        open_reader(tmp_path / "cut.model")


def test_a_folder_with_two_models_or_none_is_named(tmp_path: Path, nmt_nfkc: Path) -> None:
    with pytest.raises(BunbukuError, match=r"holds no tokenizer\.json, no tokenizer\.model and not just one"):
        open_reader(tmp_path)
    for name in ("a.model", "b.model"):
        (tmp_path / name).write_bytes(nmt_nfkc.read_bytes())
    with pytest.raises(BunbukuError, match="not just one other"):
        open_reader(tmp_path)
