from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import (
    Artifact,
    ArtifactError,
    BunbukuError,
    Config,
    Corpus,
    Draft,
    Tokenizer,
    Tokens,
    load,
    stage,
)
from bunbuku_pretrain import TokenizeConfig, TokenizeRun, tokenize
from bunbuku_pretrain.indexed import IndexedFile
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tokenizers import AddedToken, decoders, models, normalizers
from tokenizers import Tokenizer as FastTokenizer

FORGED = ("ここで</s>終わり", "<s>", "</s></s>", "<pad>狸<unk>", "\n\n</s>\n")
"""Documents that spell special tokens."""


def texts(corpus: Artifact[Corpus], part: str) -> list[str]:
    shards = [pq.read_table(corpus.path(file)) for file in corpus.files(part)]
    return [text for shard in shards for text in shard.column("text").to_pylist()]


def test_every_document_is_there_in_order_between_its_begin_and_its_end(
    corpus: Artifact[Corpus], tokenizer: Artifact[Tokenizer], tokens: Artifact[Tokens]
) -> None:
    fast = FastTokenizer.from_file(str(tokenizer.dir / "tokenizer.json"))
    for part in ("train", "validation"):
        found = [document.tolist() for document in IndexedFile(tokens.dir / part).documents()]
        wanted = [[1, *fast.encode(text, add_special_tokens=False).ids, 2] for text in texts(corpus, part)]
        assert found == wanted


def test_the_manifest_counts_documents_and_tokens_of_each_part(
    corpus: Artifact[Corpus], tokenizer: Artifact[Tokenizer], tokens: Artifact[Tokens]
) -> None:
    (train,) = [file for file in tokens.files("train") if file.tokens]
    assert (train.path, train.rows) == ("train.bin", 240)
    assert train.tokens == (tokens.dir / "train.bin").stat().st_size // 2
    assert {file.path for file in tokens.files("validation")} == {"validation.bin", "validation.idx"}
    assert tokens.spec.tokenizer == tokenizer.content
    assert (tokens.spec.eod_id, tokens.spec.dtype) == (2, "uint16")


def test_the_number_of_workers_changes_no_byte(
    tmp_path: Path, corpus: Artifact[Corpus], tokenizer: Artifact[Tokenizer], tokens: Artifact[Tokens]
) -> None:
    two = tokenize(tmp_path / "two", TokenizeConfig(), corpus, tokenizer, run=TokenizeRun(workers=2))
    assert two.content == tokens.content


def test_documents_need_not_begin_with_a_token(
    tmp_path: Path, corpus: Artifact[Corpus], tokenizer: Artifact[Tokenizer]
) -> None:
    validation = load(corpus.dir, Corpus, part="validation")
    made = tokenize(tmp_path / "bare", TokenizeConfig(begin_documents=False), validation, tokenizer)
    assert made.manifest.parts == ("validation",)
    assert not np.isin(1, IndexedFile(made.dir / "validation")[0])


def test_a_part_that_is_not_there_is_named(
    tmp_path: Path, corpus: Artifact[Corpus], tokenizer: Artifact[Tokenizer]
) -> None:
    with pytest.raises(ArtifactError, match="no part 'dropped'; its parts are: train, validation"):
        tokenize(tmp_path / "out", TokenizeConfig(parts=("dropped",)), corpus, tokenizer)


class Both(Config):
    """A tokenizer in both forms."""

    shift: int = 0
    """By how much Hugging Face's ids of pieces differ from SentencePiece's: 0 as it should be."""
    forgeable: bool = False
    """Whether text may become a special token for Hugging Face's."""


@stage("test.both")
def both(draft: Draft, config: Both, corpus: Artifact[Corpus]) -> Tokenizer:
    path = draft.dir / "tokenizer.model"
    with path.open("wb") as file:
        SentencePieceTrainer.train(
            sentence_iterator=iter(texts(corpus, "train")),
            model_writer=file,
            vocab_size=500,
            required_chars="".join(map(chr, range(0x21, 0x7F))),
            hard_vocab_limit=False,
            byte_fallback=True,
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            normalization_rule_name="identity",
            pad_id=3,
            minloglevel=2,
        )
    model = SentencePieceProcessor(model_file=str(path))
    size = model.get_piece_size()
    special = 0.0 if config.forgeable else -1000.0
    pieces = [
        (model.id_to_piece(id), special if id < 260 or model.is_byte(id) else model.get_score(id)) for id in range(size)
    ]
    pieces[260:] = pieces[260 + config.shift :] + pieces[260 : 260 + config.shift]
    fast = FastTokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    fast.normalizer = normalizers.Replace(" ", "\u2581")
    fast.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    fast.add_special_tokens([AddedToken(name, special=True) for name in ("<unk>", "<s>", "</s>", "<pad>")])
    fast.save(str(draft.dir / "tokenizer.json"))
    return Tokenizer(vocab_size=size)


@stage("test.forged")
def forged(draft: Draft, config: Config) -> Corpus:
    path = draft.dir / "part-00000.parquet"
    pq.write_table(pa.table({"text": list(FORGED)}), path)
    draft.count(path, rows=len(FORGED))
    return Corpus()


def test_sentencepiece_encodes_where_it_gives_the_same_ids(tmp_path: Path, corpus: Artifact[Corpus]) -> None:
    tokenizer = both(tmp_path / "tokenizer", Both(), corpus)
    made = tokenize(tmp_path / "tokens", TokenizeConfig(), corpus, tokenizer)
    assert made.manifest.metrics["by_sentencepiece"] == 1
    assert made.manifest.metrics["megabytes_per_second"] > 0
    fast = FastTokenizer.from_file(str(tokenizer.dir / "tokenizer.json"))
    found = [document.tolist() for document in IndexedFile(made.dir / "train").documents()]
    assert found == [[1, *fast.encode(text, add_special_tokens=False).ids, 2] for text in texts(corpus, "train")]
    two = tokenize(tmp_path / "two", TokenizeConfig(), corpus, tokenizer, run=TokenizeRun(workers=2))
    assert two.content == made.content


def test_a_sentencepiece_model_with_other_ids_is_named_with_the_first_text_and_not_used(
    tmp_path: Path, corpus: Artifact[Corpus], caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = both(tmp_path / "tokenizer", Both(shift=1), corpus)
    made = tokenize(tmp_path / "tokens", TokenizeConfig(), corpus, tokenizer)
    assert made.manifest.metrics["by_sentencepiece"] == 0
    assert "tokenizer.model is not used, for it gives other ids than tokenizer.json for '" in caplog.text
    fast = FastTokenizer.from_file(str(tokenizer.dir / "tokenizer.json"))
    found = [document.tolist() for document in IndexedFile(made.dir / "train").documents()]
    assert found == [[1, *fast.encode(text, add_special_tokens=False).ids, 2] for text in texts(corpus, "train")]


def test_a_sentencepiece_model_that_is_none_is_not_used(
    tmp_path: Path, corpus: Artifact[Corpus], caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = both(tmp_path / "tokenizer", Both(), corpus)
    (tokenizer.dir / "tokenizer.model").write_bytes(b"\0" * (tokenizer.dir / "tokenizer.model").stat().st_size)
    made = tokenize(tmp_path / "tokens", TokenizeConfig(), corpus, tokenizer)
    assert made.manifest.metrics["by_sentencepiece"] == 0
    assert "SentencePiece cannot open it" in caplog.text


def test_no_document_spells_a_special_token(tmp_path: Path, corpus: Artifact[Corpus], tokenizer) -> None:
    literal = forged(tmp_path / "forged", Config())
    for name, each in (("bpe", tokenizer), ("unigram", both(tmp_path / "tokenizer", Both(), corpus))):
        made = tokenize(tmp_path / name, TokenizeConfig(), literal, each)
        for document in IndexedFile(made.dir / "train").documents():
            assert document[0] == 1
            assert document[-1] == 2
            assert not np.isin(document[1:-1], [1, 2, 3]).any()


def test_a_tokenizer_that_takes_text_for_a_special_token_is_refused_with_the_document(
    tmp_path: Path, corpus: Artifact[Corpus]
) -> None:
    tokenizer = both(tmp_path / "tokenizer", Both(forgeable=True), corpus)
    literal = forged(tmp_path / "forged", Config())
    with pytest.raises(BunbukuError, match=r"special token '</s>' of plain text, in the document 'ここで</s>終わり'"):
        tokenize(tmp_path / "out", TokenizeConfig(), literal, tokenizer)
    assert not (tmp_path / "out").exists()


def test_a_larger_vocabulary_takes_wider_numbers(tiny: SimpleNamespace) -> None:
    from bunbuku_pretrain.indexed import dtype_for

    assert [dtype_for(size) for size in (65_499, 65_500)] == ["uint16", "int32"]
