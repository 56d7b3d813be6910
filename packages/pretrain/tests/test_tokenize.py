from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, ArtifactError, Corpus, Tokenizer, Tokens, load
from bunbuku_pretrain import TokenizeConfig, TokenizeRun, tokenize
from bunbuku_pretrain.indexed import IndexedFile
from tokenizers import Tokenizer as FastTokenizer


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


def test_a_larger_vocabulary_takes_wider_numbers(tiny: SimpleNamespace) -> None:
    from bunbuku_pretrain.indexed import dtype_for

    assert [dtype_for(size) for size in (65_499, 65_500)] == ["uint16", "int32"]
