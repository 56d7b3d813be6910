import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from bunbuku_contracts import ArtifactError
from bunbuku_moe_upcycle.tensors import TensorFolder, decode, encode, write_tensors
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


class Plan(NamedTuple):
    name: str
    dtype: str
    shape: tuple[int, ...]


@given(st.lists(st.floats(width=32), min_size=1), st.sampled_from(sorted(TYPES)))
def test_rounding_is_torchs(values: list[float], dtype: str):
    with np.errstate(over="ignore"):
        ours = decode(encode(np.array(values, np.float32), dtype), dtype)
    torchs = torch.tensor(values, dtype=torch.float32).to(TYPES[dtype]).float().numpy()
    np.testing.assert_array_equal(ours, torchs)


@given(st.lists(st.integers(0, 0xFFFF), min_size=1), st.sampled_from(["BF16", "F16"]))
def test_what_was_stored_comes_back_bit_for_bit(bits: list[int], dtype: str):
    data = np.array(bits, "<u2").tobytes()
    values = decode(data, dtype)
    finite = ~np.isnan(values)
    kept = np.frombuffer(encode(values, dtype), "<u2")[finite]
    np.testing.assert_array_equal(kept, np.array(bits, "<u2")[finite])


def test_the_safetensors_library_reads_what_was_written(tmp_path: Path):
    plans = [
        Plan("猫", "F32", (2, 3)),
        Plan("odd", "BF16", (5,)),
        Plan("half", "F16", (3, 1)),
        Plan("none", "F16", (0, 4)),
    ]
    values = {plan.name: np.random.default_rng(0).standard_normal(plan.shape).astype(np.float32) for plan in plans}
    write_tensors(tmp_path / "x.safetensors", plans, (encode(values[plan.name], plan.dtype) for plan in plans))
    loaded = load_file(tmp_path / "x.safetensors")
    assert {name: tensor.dtype for name, tensor in loaded.items()} == {plan.name: TYPES[plan.dtype] for plan in plans}
    for plan in plans:
        torch.testing.assert_close(
            loaded[plan.name], torch.from_numpy(values[plan.name]).to(TYPES[plan.dtype]), rtol=0, atol=0
        )


def test_a_folder_is_read_as_the_library_wrote_it(tmp_path: Path):
    written = {name: torch.randn(7, 3).to(dtype) for name, dtype in TYPES.items()}
    save_file(written, tmp_path / "a.safetensors")
    save_file({"second": torch.ones(2)}, tmp_path / "b.safetensors")
    folder = TensorFolder(tmp_path.glob("*.safetensors"))
    assert sorted(folder.stored) == ["BF16", "F16", "F32", "second"]
    for name, tensor in written.items():
        np.testing.assert_array_equal(folder.read(name), tensor.float().numpy())
        np.testing.assert_array_equal(folder.read_rows(name, 2, 5), tensor[2:5].float().numpy().ravel())
        np.testing.assert_array_equal(folder.read_rows(name, 5, 99), tensor[5:].float().numpy().ravel())


@pytest.mark.parametrize("kept", [0, 4, 8, 30, -1])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, kept: int):
    path = tmp_path / "cut.safetensors"
    save_file({"a": torch.ones(8, 8)}, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ArtifactError, match=r"cut\.safetensors is not a whole safetensors file"):
        TensorFolder([path])


def test_a_header_of_another_kind_is_refused(tmp_path: Path):
    path = tmp_path / "odd.safetensors"
    path.write_bytes(struct.pack("<Q", 4) + b"[12]")
    with pytest.raises(ArtifactError, match=r"odd\.safetensors is not a whole safetensors file"):
        TensorFolder([path])


def test_eight_bit_weights_are_refused_by_name(tmp_path: Path):
    path = tmp_path / "small.safetensors"
    save_file({"a": torch.ones(2, dtype=torch.float8_e4m3fn)}, path)
    with pytest.raises(ArtifactError, match="'a' is stored as 'F8_E4M3'"):
        TensorFolder([path])
