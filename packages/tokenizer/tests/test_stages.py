import re
from pathlib import Path

import pytest
from bunbuku_contracts import Artifact, BunbukuError, Corpus, Tokenizer
from bunbuku_contracts.artifact import Artifact as Published
from bunbuku_tokenizer import Encoder, TrainConfig, TrainRun, train
from bunbuku_tokenizer.candidates import SPACE
from bunbuku_tokenizer.cli import main
from bunbuku_tokenizer.morphemes import count_chunk
from bunbuku_tokenizer.vocabulary import GIVEN
from pydantic import ValidationError


def test_order_shards_workers_and_folder_do_not_change_the_tokenizer(
    tokenizer: Artifact[Tokenizer], publish, rows, small: TrainConfig, tmp_path: Path
) -> None:
    other = publish("reversed", shard_rows=37, data=rows[::-1])
    again = train(tmp_path / "elsewhere", small, other, run=TrainRun(workers=2))
    assert again.content == tokenizer.content


def test_no_path_of_this_machine_is_in_any_file(tokenizer: Artifact[Tokenizer]) -> None:
    for file in tokenizer.files():
        assert str(tokenizer.dir.parent).encode() not in tokenizer.path(file).read_bytes()
        assert b".tsv" not in tokenizer.path(file).read_bytes()


def test_the_spec_says_what_the_files_hold(tokenizer: Artifact[Tokenizer], encoder: Encoder) -> None:
    spec = tokenizer.spec
    assert spec.vocab_size == encoder.sentencepiece.get_piece_size() == encoder.fast.get_vocab_size() == 832
    names = [encoder.sentencepiece.id_to_piece(id) for id in (spec.unk_id, spec.bos_id, spec.eos_id, spec.pad_id)]
    assert names == ["<unk>", "<s>", "</s>", "<pad>"]
    assert spec.licences == ("CC0-1.0",)


def test_with_one_morpheme_a_piece_words_are_tokens_and_no_piece_crosses_a_boundary(
    corpus: Artifact[Corpus], small: TrainConfig, rows, tmp_path: Path
) -> None:
    config = small.model_copy(update={"max_morphemes": 1, "vocab_size": 800})
    encoder = Encoder.open(train(tmp_path / "out", config, corpus).dir)
    for word in ("石油", "水素", "検索", "場合", "図書館", "東京"):
        assert encoder.pieces(word) == [word]
    words = set(
        count_chunk((line for row in rows for line in row["text"].split("\n")), max_morphemes=1, max_chars=16).atoms
    )
    for id in range(260 + len(GIVEN), 800):
        piece = encoder.sentencepiece.id_to_piece(id).replace(SPACE, " ")
        assert len(piece) == 1 or any(piece in word for word in words), piece


def test_a_vocabulary_too_large_for_the_text_names_the_largest_that_can_be_made(
    corpus: Artifact[Corpus], small: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(BunbukuError, match="the largest possible multiple of 32 is") as caught:
        train(tmp_path / "out", TrainConfig(vocab_size=64_000, multiple_of=32), corpus)
    assert not (tmp_path / "out").exists()
    largest = int(re.findall(r"\d+", str(caught.value))[-1])
    made = train(tmp_path / "out", TrainConfig(vocab_size=largest, multiple_of=32), corpus)
    assert made.spec.vocab_size == largest


def test_a_vocabulary_too_small_for_the_characters_names_the_smallest(corpus: Artifact[Corpus], tmp_path: Path) -> None:
    with pytest.raises(BunbukuError, match="the smallest possible multiple of 64 is") as caught:
        train(tmp_path / "out", TrainConfig(vocab_size=320), corpus)
    smallest = int(re.findall(r"\d+", str(caught.value))[-1])
    assert train(tmp_path / "out", TrainConfig(vocab_size=smallest), corpus).spec.vocab_size == smallest


def test_a_vocabulary_that_is_no_multiple_names_the_two_nearest() -> None:
    with pytest.raises(ValidationError, match="65000 is not a multiple of `multiple_of` 128; 64896 and 65024 are"):
        TrainConfig(vocab_size=65_000, multiple_of=128)


def test_a_language_that_is_not_there_is_named(corpus: Artifact[Corpus], tmp_path: Path) -> None:
    with pytest.raises(BunbukuError, match=r"names 'code', and the corpus has no document in it; .* en, ja"):
        train(tmp_path / "out", TrainConfig(language_chars={"code": 1000}), corpus)


def test_a_corpus_of_empty_documents_is_refused(publish, tmp_path: Path) -> None:
    with pytest.raises(BunbukuError, match="no text to learn from"):
        train(tmp_path / "out", TrainConfig(), publish("empty", data=[{"id": "1", "text": " \n"}]))


def test_what_belongs_to_a_held_out_document_is_not_learned_from(
    publish, rows, small: TrainConfig, tmp_path: Path
) -> None:
    split = publish("split", train=rows, validation=[{"id": "block", "text": "秘密"}])
    pairs = [{"id": "block/1", "text": "秘密"}, {"id": "block", "text": "秘密"}, {"id": "open/1", "text": "公開"}]
    pairs = publish("pairs", data=[pair | {"language": "ja-en"} for pair in pairs])
    drawn = Published(split.dir, split.manifest, "train")
    made = train(tmp_path / "out", small, drawn, {"pairs": pairs})
    assert made.manifest.metrics["sample.ja-en.characters"] == len("公開")


def test_the_command_line_trains_and_measures(
    corpus: Artifact[Corpus], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, report = str(tmp_path / "tokenizer"), str(tmp_path / "report")
    sizes = ["--set", "vocab_size=768", "--set", "max_chars=30_000"]
    assert main(["train", "--corpus", str(corpus.dir), "--out", made, *sizes]) == 0
    assert main(["measure", "--tokenizer", made, "--corpus", str(corpus.dir), "--out", report]) == 0
    said = capsys.readouterr()
    assert said.out.split() == [made, report]
    assert "characters" in said.err
    assert "overall" in said.err
