from pathlib import Path

import numpy as np
import pytest
from bunbuku_contracts import ArtifactError
from bunbuku_pretrain.indexed import IndexedFile, IndexedWriter
from hypothesis import given, settings
from hypothesis import strategies as st

DOCUMENTS = st.lists(st.lists(st.integers(0, 60_000), min_size=1, max_size=20), max_size=8)


def write(prefix: Path, documents: list[list[int]], dtype: str = "uint16") -> IndexedWriter:
    writer = IndexedWriter(prefix, dtype)  # pyright: ignore[reportArgumentType]
    with writer:
        for batch in (documents[:3], documents[3:]):
            flat = np.array([token for document in batch for token in document], dtype=np.int32)
            writer.add(flat, np.array([len(document) for document in batch], dtype=np.int32))
    return writer


@settings(deadline=None, max_examples=50)
@given(documents=DOCUMENTS.filter(bool), dtype=st.sampled_from(["uint16", "int32"]))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, documents: list, dtype: str) -> None:
    prefix = tmp_path_factory.mktemp("indexed") / "part"
    writer = write(prefix, documents, dtype)
    assert [document.tolist() for document in IndexedFile(prefix).documents()] == documents
    assert (writer.documents, writer.tokens) == (len(documents), sum(map(len, documents)))


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_the_bytes_are_those_of_megatrons_own_builder(tmp_path: Path, probe: Path, dtype: str) -> None:
    write(tmp_path / dtype, [[5, 6, 7], [8], [9, 10, 11, 12, 13]], dtype)
    for suffix in ("bin", "idx"):
        assert (tmp_path / f"{dtype}.{suffix}").read_bytes() == (probe / f"{dtype}.{suffix}").read_bytes()


def test_another_file_is_refused_by_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "part.idx").write_bytes(b"PK\x03\x04" + bytes(60))
    (tmp_path / "part.bin").write_bytes(bytes(4))
    with pytest.raises(ArtifactError, match=r"part\.idx is not an index of Megatron"):
        IndexedFile(tmp_path / "part")
