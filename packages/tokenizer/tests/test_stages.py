import re
from pathlib import Path

import pytest
from bunbuku_contracts import Artifact, BunbukuError, Corpus, Tokenizer
from bunbuku_contracts.artifact import Artifact as Published
from bunbuku_tokenizer import Encoder, TrainConfig, TrainRun, train
from bunbuku_tokenizer.candidates import SPACE
from bunbuku_tokenizer.cli import main
from bunbuku_tokenizer.morphemes import DELIMITER, count_chunk
from bunbuku_tokenizer.recipe import AnyCandidates, Delimiter, Morphemes, SuffixArray
from bunbuku_tokenizer.unigram import MAX_BYTES
from bunbuku_tokenizer.vocabulary import GIVEN


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
    config = small.model_copy(update={"candidates": Morphemes(max_morphemes=1), "vocab_size": 828, "multiple_of": 1})
    encoder = Encoder.open(train(tmp_path / "out", config, corpus).dir)
    for word in ("石油", "水素", "検索", "場合", "図書館", "東京"):
        assert encoder.pieces(word) == [word]
    words = set(
        count_chunk((line for row in rows for line in row["text"].split("\n")), max_morphemes=1, max_chars=16).atoms
    )
    for id in range(260 + len(GIVEN), 828 - small.reserved_tokens):
        piece = encoder.sentencepiece.id_to_piece(id).replace(SPACE, " ")
        assert len(piece) == 1 or any(piece in word for word in words), piece


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [Delimiter(type="delimiter"), SuffixArray(type="suffix_array")])
def test_the_recipes_for_comparison_lose_no_text_either_and_leave_no_mark(
    corpus: Artifact[Corpus], small: TrainConfig, rows, tmp_path: Path, recipe: AnyCandidates
) -> None:
    config = small.model_copy(update={"candidates": recipe, "vocab_size": 744, "multiple_of": 1})
    made = train(tmp_path / "one", config, corpus)
    assert train(tmp_path / "two", config, corpus, run=TrainRun(workers=2)).content == made.content
    encoder = Encoder.open(made.dir)
    assert encoder.first_failure([*(row["text"] for row in rows), DELIMITER]) is None
    assert made.spec.vocab_size == 744
    pieces = [encoder.sentencepiece.id_to_piece(id) for id in range(744)]
    assert not [piece for piece in pieces if DELIMITER in piece]


def test_marking_morphemes_in_the_text_loses_the_words_that_candidates_of_morphemes_keep(
    corpus: Artifact[Corpus], small: TrainConfig, tmp_path: Path
) -> None:
    # The reason for this package: a morpheme always followed by the mark is no candidate of SentencePiece's own, so that
    # the recipe runs out of candidates, here at 745 ids, with most of the words in pieces.
    words = ("石油", "水素", "検索", "場合", "図書館", "東京", "必要", "新聞")
    kept = {}
    for recipe, size in ((Delimiter(type="delimiter"), 744), (Morphemes(max_morphemes=1), 828)):
        config = small.model_copy(update={"candidates": recipe, "vocab_size": size, "multiple_of": 1})
        encoder = Encoder.open(train(tmp_path / recipe.type, config, corpus).dir)
        kept[recipe.type] = sum(len(encoder.encode(word)) == 1 for word in words)
    assert kept["morphemes"] == len(words)
    assert kept["delimiter"] < len(words) / 2


def test_shares_divide_the_learned_pieces_and_the_result_is_the_same_for_any_workers(
    corpus: Artifact[Corpus], small: TrainConfig, rows, tmp_path: Path
) -> None:
    made = {}
    for english in (1, 3):
        config = small.model_copy(update={"shares": {"ja": 3.0, "en": float(english)}, "vocab_size": 768})
        made[english] = train(tmp_path / f"{english}", config, corpus)
        metrics = made[english].manifest.metrics
        assert metrics["pieces.ja"] == pytest.approx(metrics["pieces.en"] * 3 / english, abs=2)
        assert Encoder.open(made[english].dir).first_failure(row["text"] for row in rows) is None
        assert made[english].spec.vocab_size == 768
    again = train(tmp_path / "again", config, corpus, run=TrainRun(workers=2))
    assert again.content == made[3].content
    text = "\n".join(row["text"] for row in rows if row.get("language") == "en")
    few, many = (len(Encoder.open(made[english].dir).encode(text)) for english in (1, 3))
    assert many < few


def test_a_share_for_a_language_without_text_or_text_without_a_share_is_named(
    corpus: Artifact[Corpus], small: TrainConfig, tmp_path: Path
) -> None:
    for shares, problem in (
        ({"ja": 1.0}, "leaves out 'en'"),
        ({"ja": 1.0, "en": 1.0, "code": 1.0}, "names 'code', and the corpus has no document in it"),
    ):
        with pytest.raises(BunbukuError, match=problem):
            train(tmp_path / "out", small.model_copy(update={"shares": shares}), corpus)
    assert not (tmp_path / "out").exists()


def test_a_language_that_runs_out_leaves_its_share_to_the_others(
    corpus: Artifact[Corpus], small: TrainConfig, tmp_path: Path
) -> None:
    config = small.model_copy(update={"shares": {"ja": 1.0, "en": 50.0}, "vocab_size": 760, "multiple_of": 1})
    made = train(tmp_path / "out", config, corpus)
    assert made.spec.vocab_size == 760
    assert made.manifest.metrics["pieces.ja"] > made.manifest.metrics["pieces.en"] / 50
    with pytest.raises(BunbukuError, match="`vocab_size` 3008 is more than the sample gives"):
        train(tmp_path / "more", config.model_copy(update={"vocab_size": 3008}), corpus)


def test_a_vocabulary_too_large_for_the_text_names_the_largest_that_can_be_made(
    corpus: Artifact[Corpus], small: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(BunbukuError, match="is more than the sample gives, which is") as caught:
        train(tmp_path / "out", small.model_copy(update={"vocab_size": 64_000}), corpus)
    assert not (tmp_path / "out").exists()
    largest = int(re.findall(r"\d+", str(caught.value))[-1])
    made = train(tmp_path / "out", small.model_copy(update={"vocab_size": largest, "multiple_of": 1}), corpus)
    assert made.spec.vocab_size == largest


def test_a_vocabulary_too_small_for_the_characters_names_the_smallest(
    corpus: Artifact[Corpus], small: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(BunbukuError, match="is too small for the characters alone, which take") as caught:
        train(tmp_path / "out", small.model_copy(update={"vocab_size": 320}), corpus)
    smallest = int(re.findall(r"\d+", str(caught.value))[-1])
    made = train(tmp_path / "out", small.model_copy(update={"vocab_size": smallest}), corpus)
    assert made.spec.vocab_size == -(-smallest // 32) * 32


def test_the_number_of_ids_is_made_a_multiple_by_tokens_in_reserve(
    corpus: Artifact[Corpus], small: TrainConfig, tmp_path: Path
) -> None:
    made = train(tmp_path / "out", small.model_copy(update={"vocab_size": 790, "multiple_of": 64}), corpus)
    encoder = Encoder.open(made.dir)
    assert made.spec.vocab_size == encoder.fast.get_vocab_size() == 832
    assert encoder.sentencepiece.id_to_piece(831) == "<|reserved_57|>"
    for ids in next(encoder.encode_both(["<|reserved_57|>"])):
        assert max(ids) < 832 - 58


def test_the_kanji_of_general_use_are_pieces_though_no_text_has_them(
    corpus: Artifact[Corpus], small: TrainConfig, tmp_path: Path
) -> None:
    config = small.model_copy(update={"required_characters": "joyo", "vocab_size": 2960})
    encoder = Encoder.open(train(tmp_path / "out", config, corpus).dir)
    assert encoder.pieces("鬱蔽𠮟叱") == ["鬱", "蔽", "𠮟", "叱"]


def test_a_long_paragraph_in_one_line_is_learned_from_to_its_end(publish, small: TrainConfig, tmp_path: Path) -> None:
    # SentencePiece would skip the line without a word: it is longer than what it reads.
    line = "".join(f"狸は{index % 7}番目の茶釜を{'見' * (index % 3)}た、" for index in range(2000)) + "風呂敷" * 20
    assert len(line.encode()) > MAX_BYTES
    corpus = publish("long", data=[{"id": "1", "text": line}])
    made = train(tmp_path / "out", small.model_copy(update={"vocab_size": 616, "multiple_of": 4}), corpus)
    assert made.manifest.metrics["sample.ja.characters_between_sentences"] == 0
    assert Encoder.open(made.dir).pieces("風呂敷") == ["風呂敷"]


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
    sizes = ["--set", "vocab_size=768", "--set", "max_chars=30_000", "--set", "required_characters=kana"]
    assert main(["train", "--corpus", str(corpus.dir), "--out", made, *sizes]) == 0
    assert main(["measure", "--tokenizer", made, "--corpus", str(corpus.dir), "--out", report]) == 0
    said = capsys.readouterr()
    assert said.out.split() == [made, report]
    assert "characters" in said.err
    assert "overall" in said.err
