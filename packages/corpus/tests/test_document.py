from pathlib import Path

import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, Config, Corpus, Draft, stage
from bunbuku_corpus import Document, ShardWriter, read_documents
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
DOCUMENTS = st.builds(Document, TEXT, TEXT, TEXT, st.none() | TEXT, TEXT, TEXT)


class WriteConfig(Config):
    rows_per_shard: int


def written(out: Path, documents: list[Document], rows_per_shard: int) -> Artifact[Corpus]:
    @stage("test.write")
    def write(draft: Draft, config: WriteConfig) -> Corpus:
        with ShardWriter(draft, rows_per_shard=config.rows_per_shard) as shards:
            for document in documents:
                shards.add(document)
        return Corpus()

    return write(out, WriteConfig(rows_per_shard=rows_per_shard))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(documents=st.lists(DOCUMENTS, min_size=1, max_size=12), rows_per_shard=st.integers(1, 5))
def test_what_is_written_is_read_in_the_same_order(
    documents: list[Document], rows_per_shard: int, tmp_path_factory: pytest.TempPathFactory
):
    corpus = written(tmp_path_factory.mktemp("corpus") / "out", documents, rows_per_shard)
    assert list(read_documents(corpus)) == documents
    rows = [file.rows or 0 for file in corpus.files()]
    assert sum(rows) == len(documents)
    assert all(count == rows_per_shard for count in rows[:-1])


def test_columns_are_those_of_the_contract(tmp_path: Path):
    corpus = written(tmp_path / "out", [Document("a", "犬", "s", None, "MIT", "ja")], 10)
    shard = pq.read_schema(corpus.path(corpus.files()[0]))
    assert shard.names == ["id", "text", "source", "url", "licence", "language"]
    assert {str(kind) for kind in shard.types} == {"string"}


def test_a_long_document_is_written_at_once_and_no_shard_is_empty(tmp_path: Path):
    documents = [Document(str(n), "あ" * 2_500_000, "s", None, "MIT", "ja") for n in range(3)]
    corpus = written(tmp_path / "out", documents, 3)
    assert [file.rows for file in corpus.files()] == [3]
    with pq.ParquetFile(corpus.path(corpus.files()[0])) as shard:
        assert shard.num_row_groups == 2
