"""Megatron's indexed tokens: what is written comes back, and a damaged pair is refused."""

import struct
from pathlib import Path

import numpy as np
import pytest
from bunbuku_contracts import BunbukuError
from bunbuku_eval.indexed import MAGIC, IndexedTokens
from hypothesis import given, settings
from hypothesis import strategies as st

CODES = {"uint16": 8, "int32": 4}


def write(folder: Path, documents: list[list[int]], dtype: str = "uint16") -> tuple[Path, Path]:
    """A `.bin` and `.idx` by the letter of the format, one sequence a document."""
    lengths = np.array([len(document) for document in documents], dtype="<i4")
    itemsize = np.dtype(dtype).itemsize
    offsets = (np.cumsum(lengths, dtype=np.int64) - lengths) * itemsize
    index = MAGIC + struct.pack("<QBQQ", 1, CODES[dtype], len(documents), len(documents) + 1)
    index += lengths.tobytes() + offsets.astype("<i8").tobytes()
    index += np.arange(len(documents) + 1, dtype="<i8").tobytes()
    bin_path, idx_path = folder / "train.bin", folder / "train.idx"
    bin_path.write_bytes(np.array([token for document in documents for token in document], dtype=dtype).tobytes())
    idx_path.write_bytes(index)
    return bin_path, idx_path


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.integers(0, 60000), max_size=6), max_size=8),
    st.sampled_from(["uint16", "int32"]),
    st.integers(1, 12),
)
def test_documents_come_back_whole_however_they_are_spanned(tmp_path_factory, documents, dtype, span_tokens) -> None:
    opened = IndexedTokens.open(*write(tmp_path_factory.mktemp("tokens"), documents, dtype))
    assert opened.documents == len(documents)
    assert opened.lengths().tolist() == [len(document) for document in documents]
    found = []
    for span in opened.spans(np.arange(len(documents)), span_tokens=span_tokens):
        found += [part.tolist() for part in np.split(span.tokens, span.starts[1:])]
    assert found == documents


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda raw: b"parquet!!" + raw[9:], "is not a Megatron index"),
        (lambda raw: b"", "is not a Megatron index"),
        (lambda raw: raw[:9] + struct.pack("<Q", 2) + raw[17:], "version 2"),
        (lambda raw: raw[:-8], "cut short"),
    ],
)
def test_a_damaged_index_is_named(tmp_path, damage, problem) -> None:
    bin_path, idx_path = write(tmp_path, [[1, 2], [3]])
    idx_path.write_bytes(damage(idx_path.read_bytes()))
    with pytest.raises(BunbukuError, match=problem):
        IndexedTokens.open(bin_path, idx_path)


def test_tokens_that_do_not_fit_their_index_are_refused(tmp_path) -> None:
    bin_path, idx_path = write(tmp_path, [[1, 2], [3]])
    bin_path.write_bytes(bin_path.read_bytes()[:-2])
    with pytest.raises(BunbukuError, match="does not hold the 3 tokens"):
        IndexedTokens.open(bin_path, idx_path)


@pytest.mark.peer
def test_what_megatron_writes_is_read(tmp_path) -> None:
    """Peer: megatron-core's IndexedDatasetBuilder."""
    torch = pytest.importorskip("torch")
    builder_module = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    builder = builder_module.IndexedDatasetBuilder(str(tmp_path / "train.bin"), dtype=np.uint16)
    documents = [[5, 6, 7], [8], [9, 10]]
    for document in documents:
        builder.add_document(torch.tensor(document), [len(document)])
    builder.finalize(str(tmp_path / "train.idx"))
    opened = IndexedTokens.open(tmp_path / "train.bin", tmp_path / "train.idx")
    (span,) = opened.spans(np.arange(opened.documents))
    assert [part.tolist() for part in np.split(span.tokens, span.starts[1:])] == documents
