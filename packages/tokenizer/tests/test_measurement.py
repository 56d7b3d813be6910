import sys

import pytest
from bunbuku_contracts import Artifact, Tokenizer
from bunbuku_tokenizer import Encoder, morphemes
from bunbuku_tokenizer.documents import Document
from bunbuku_tokenizer.measurement import Counts, Form, Measured, Text, measure_documents
from bunbuku_tokenizer.reader import HuggingFaceReader, open_reader
from bunbuku_tokenizer.roundtrip import random_texts, trips
from tokenizers import Tokenizer as FastTokenizer


def _measured(tokenizer: Artifact[Tokenizer]) -> Measured:
    return Measured(
        Form(open_reader(tokenizer.dir / "tokenizer.model")), Form(open_reader(tokenizer.dir / "tokenizer.json"))
    )


def _look(documents: list[Document], *measured: Measured) -> Text:
    names = {f"{place}": each for place, each in enumerate(measured)}
    return measure_documents(documents, names, dictionary="ipadic", frequent=3, examples=1)


def test_every_count_is_what_encoding_says(tokenizer: Artifact[Tokenizer], encoder: Encoder) -> None:
    texts = {"ja": ["石油 石油", "𠮷"], "en": ["the kettle\n"]}
    documents = [Document(text, text, language, "web") for language, some in texts.items() for text in some]
    measured = _measured(tokenizer)
    found = _look(documents, measured)
    for language, some in texts.items():
        counts = measured.languages[language]
        ids = [id for text in some for id in encoder.encode(text)]
        assert (counts.documents, counts.chars, counts.tokens) == (len(some), sum(map(len, some)), len(ids))
        assert counts.bytes == len("".join(some).encode())
        assert counts.byte_tokens == sum(piece.startswith("<0x") for text in some for piece in encoder.pieces(text))
        assert counts.lost == counts.differing == 0
    assert list(measured.languages) == ["en", "ja"]
    assert measured.overall == measured.sources["web"]
    assert measured.overall.tokens == measured.used.sum()
    assert [(language, text) for language, _, text in found.examples] == [("ja", "石油 石油"), ("en", "the kettle\n")]
    assert measured.problem is None


def test_morphemes_are_counted_in_japanese_only(tokenizer: Artifact[Tokenizer]) -> None:
    measured = _measured(tokenizer)
    found = _look([Document("1", "石油が茶釜と石油を呼ぶ", "ja"), Document("2", "the kettle", "en")], measured)
    assert found.frequent == ("石油", "呼ぶ", "茶釜")  # twice, once, once; equals in the order of their characters
    japanese = measured.languages["ja"]
    assert japanese.morphemes == 7  # 石油 が 茶釜 と 石油 を 呼ぶ
    assert japanese.tokens_per_morpheme == japanese.tokens / 7
    assert measured.languages["en"].morphemes == 0
    assert measured.languages["en"].tokens_per_morpheme is None
    assert "en.tokens_per_morpheme" not in measured.languages["en"].metrics("en")
    assert measured.overall.straddling_share == japanese.straddling_share


def test_a_form_that_differs_is_counted_and_the_first_document_named(tokenizer: Artifact[Tokenizer]) -> None:
    measured = _measured(tokenizer)
    broken = FastTokenizer.from_file(str(tokenizer.dir / "tokenizer.json"))
    measured.twin = Form(HuggingFaceReader(broken))
    broken.encode_special_tokens = False
    _look(
        [Document("fine", "石油", "ja"), Document("bad", "終わり</s>", "ja"), Document("worse", "<s>", "ja")], measured
    )
    assert measured.languages["ja"].differing == 2
    assert measured.problem == "document 'bad': the two forms give different ids"


def test_a_document_that_is_lost_is_counted_and_shown(nmt_nfkc) -> None:
    measured = Measured(Form(open_reader(nmt_nfkc)))
    _look([Document("fine", "石油", "ja"), Document("bad", "狸は①と言った", "ja")], measured)
    assert measured.languages["ja"].lost == 1
    assert measured.problem == "document 'bad': '狸は①と言った' comes back as '狸は1と言った'"


def test_without_mecab_all_but_the_morphemes_is_measured_and_it_is_said_why(
    tokenizer: Artifact[Tokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fugashi.fugashi", None)
    morphemes.mecab.cache_clear()
    measured = _measured(tokenizer)
    found = _look([Document("1", "石油", "ja"), Document("2", "水素", "ja")], measured)
    assert found.without_morphemes
    assert found.without_morphemes.startswith("Nothing is said of morphemes: MeCab with the dictionary ipadic cannot")
    assert found.frequent == ()
    assert measured.languages["ja"].tokens == sum(len(measured.reader.encode(text)) for text in ("石油", "水素"))
    assert measured.languages["ja"].straddling_share is None


def test_counts_of_nothing_are_numbers() -> None:
    assert set(Counts().metrics("none").values()) == {0.0}


def test_pieces_are_unused_unless_a_text_has_them(tokenizer: Artifact[Tokenizer], encoder: Encoder) -> None:
    measured = _measured(tokenizer)
    before = measured.unused
    model = encoder.sentencepiece
    special = (model.is_unknown, model.is_control, model.is_byte)
    assert before == sum(not any(of(id) for of in special) for id in range(model.get_piece_size()))
    _look([Document("1", "石油 石油", "ja")], measured)
    assert before - measured.unused == len(set(encoder.encode("石油 石油")))


def test_random_texts_are_the_same_for_the_same_seed_and_valid_unicode() -> None:
    texts = list(random_texts(300, seed=1))
    assert texts == list(random_texts(300, seed=1)) != list(random_texts(300, seed=2))
    assert texts[:7] == list(random_texts(7, seed=1))
    assert len(set(texts)) == 300
    assert "".join(texts).encode()  # no surrogates
    for snippet in ("\u2581", "\0", "①", "</s>", "  ", "猫"):
        assert any(snippet in text for text in texts)


def test_our_own_tokenizer_brings_random_texts_back_and_one_that_normalises_does_not(
    tokenizer: Artifact[Tokenizer], nmt_nfkc, byte_level
) -> None:
    texts = list(random_texts(200, seed=0))
    measured = _measured(tokenizer)
    assert measured.twin
    assert trips([measured.reader, measured.twin.reader], texts) == (200, 0, None)
    assert trips([open_reader(byte_level)], texts).lost == 0
    theirs = trips([open_reader(nmt_nfkc)], texts)
    assert theirs.lost > 100
    assert theirs.first
    assert "comes back as" in theirs.first
