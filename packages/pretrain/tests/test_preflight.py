import hashlib
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Tokenizer, Tokens, load
from bunbuku_contracts.launch import Srun
from bunbuku_pretrain import TrainRun, train
from bunbuku_pretrain.indexed import IndexedWriter
from bunbuku_pretrain.job import Job
from bunbuku_pretrain.launching import Elastic
from bunbuku_pretrain.preflight import Refused, disk, index_facts, insist, insist_on_node, look, shared_memory, table
from bunbuku_pretrain.reading import Sampler, TokenFile
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def job(tmp_path: Path, tiny: SimpleNamespace) -> Job:
    """A job of a few documents."""
    with IndexedWriter(tmp_path / "train", "uint16") as writer:
        writer.add(np.arange(60), np.array([10, 20, 30], dtype=np.int32))
    (tmp_path / "log").mkdir()
    return Job(
        config=tiny.config(steps=4),
        settings=TrainRun(),
        architecture=tiny.small(256),
        vocabulary=150,
        parts={"train": TokenFile(bin=tmp_path / "train.bin", tokens=60, documents=3)},
        train_part="train",
        laps=(),
        sampler=Sampler(tokens="", seed=0, packing="", block_tokens=33),
        dtype="uint16",
        start=None,
        resume=None,
        milestone_steps=(),
        scratch=tmp_path,
        log=tmp_path / "log",
    )


def wrong(job: Job, digests: dict[Path, str] | None = None) -> dict[str, str]:
    return {check.what: f"{check.found} -> {check.remedy}" for check in look(job, digests or {}) if check.remedy}


def test_nothing_is_wrong_with_a_sound_job_and_the_table_says_so(job: Job) -> None:
    insist(job, {})
    written = (job.log / "preflight.txt").read_text()
    assert "text of train" in written
    assert "3 documents, 60 tokens in uint16" in written
    assert "free disk" in written
    assert "time-outs" in written


@given(st.lists(st.integers(1, 50), max_size=30), st.sampled_from(["uint16", "int32"]))
def test_the_head_and_the_end_of_an_index_say_what_is_in_it(lengths: list[int], dtype: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "part"
        with IndexedWriter(prefix, dtype) as writer:  # type: ignore[arg-type]
            writer.add(np.arange(sum(lengths)), np.array(lengths, dtype=np.int32))
        found = index_facts(prefix.with_suffix(".bin"))
    assert found == (len(lengths), sum(lengths), dtype, sum(lengths) * np.dtype(dtype).itemsize)


def test_a_missing_index_is_refused_with_its_remedy(job: Job) -> None:
    job.parts["train"].bin.with_suffix(".idx").unlink()
    with pytest.raises(
        Refused, match=r"train\.idx cannot be read: No such file or directory, wanted: 3 documents"
    ) as caught:
        insist(job, {})
    assert "bunbuku-pretrain tokenize" in caught.value.hint


def test_text_is_looked_at_before_anything_is_planned_with_it(
    tmp_path: Path, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace
) -> None:
    copied = tmp_path / "tokens"
    shutil.copytree(tokens.dir, copied)
    loaded = load(copied, Tokens)
    (copied / "train.idx").unlink()
    with pytest.raises(Refused, match=r"the ranks were not started: text of train: .*train\.idx cannot be read"):
        train(tmp_path / "out", tiny.config(steps=2), loaded, tokenizer)


def test_token_files_that_do_not_fit_one_another_are_told_apart(job: Job) -> None:
    bin = job.parts["train"].bin
    whole = bin.read_bytes()
    bin.write_bytes(whole[:-2])
    assert "has 118 bytes, its index says 60 tokens" in wrong(job)["text of train"]
    bin.write_bytes(whole)
    idx = bin.with_suffix(".idx")
    index = idx.read_bytes()
    idx.write_bytes(b"PARQUET!!" + index[9:])
    assert "is not an index of Megatron: it begins with b'PARQUET!!'" in wrong(job)["text of train"]
    idx.write_bytes(index[:-8])
    assert "3 documents need" in wrong(job)["text of train"]
    idx.write_bytes(index[:17] + b"\x07" + index[18:])
    assert "number format 7" in wrong(job)["text of train"]
    idx.write_bytes(index)
    assert wrong(job) == {}
    assert "60 tokens in uint16" in wrong(job.model_copy(update={"dtype": "int32"}))["text of train"]


def test_hashes_are_looked_at_where_they_are_asked_for(job: Job) -> None:
    bin = job.parts["train"].bin
    digests = {bin: hashlib.sha256(bin.read_bytes()).hexdigest()}
    assert wrong(job, digests) == {}
    flipped = bytearray(bin.read_bytes())
    flipped[7] ^= 1
    bin.write_bytes(bytes(flipped))
    assert wrong(job) == {}
    assert list(wrong(job, digests)) == ["hash of train.bin"]


def test_a_disk_too_small_for_the_states_is_told_by_how_much(job: Job, tiny: SimpleNamespace) -> None:
    assert not disk(job.architecture, job).remedy
    vast = job.architecture.model_copy(update={"hidden_size": 1 << 16, "ffn_size": 1 << 18, "layers": 100})
    check = disk(vast, job)
    assert check.remedy.startswith("free ")
    assert "TiB" in check.wanted
    needed = {
        precision: disk(vast, job.model_copy(update={"config": job.config.model_copy(update={"precision": precision})}))
        for precision in ("fp32", "bf16")
    }
    each = {precision: float(one.wanted.partition("states of ")[2].split()[0]) for precision, one in needed.items()}
    assert each["bf16"] / each["fp32"] == pytest.approx(
        14 / 12, abs=0.01
    )  # the copy in fp32 outweighs the narrower weights


def test_shared_memory_too_small_for_the_ranks_of_a_machine_is_refused(job: Job) -> None:
    """NCCL's share of four thousand ranks is more than any machine has; on the CPU nothing is needed."""
    many = job.model_copy(update={"settings": TrainRun(ranks=4096, device="cuda")})
    check = shared_memory(many)
    assert check.wanted == "256.0 GiB for 4096 ranks"
    assert check.remedy == "give the container more, such as --shm-size=256g, or remount /dev/shm"
    with pytest.raises(Refused, match=r"shared memory: .*, wanted: 256.0 GiB for 4096 ranks"):
        insist(many, {})
    with pytest.raises(Refused, match=rf"node {socket.gethostname()} is not fit: shared memory: "):
        insist_on_node(many)
    spread = Srun(ranks_per_node=1)
    assert not shared_memory(
        many.model_copy(update={"settings": TrainRun(ranks=4096, device="cuda", launcher=spread)})
    ).remedy
    assert not shared_memory(many.model_copy(update={"settings": TrainRun(ranks=4096, device="cpu")})).remedy


@pytest.mark.long
def test_a_node_that_lacks_a_process_says_so_before_the_first_step(
    tmp_path: Path, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace
) -> None:
    """The publisher is on no node of an elastic launch, and looks for nothing on its own machine."""
    agent = "{agent} --host node07 --address 127.0.0.1"
    launcher = Elastic(agents=(agent,), address="127.0.0.1", program="torchrun", node_restarts=0)
    run = TrainRun(launcher=launcher, required_processes=("no-such-daemon",))
    with pytest.raises(BunbukuError, match="node node07 is not fit: process no-such-daemon: does not run") as caught:
        train(tmp_path / "out", tiny.config(steps=2), tokens, tokenizer, run=run)
    assert "start no-such-daemon on every node" in caught.value.hint


def test_a_process_that_must_run_is_asked_for_by_name(job: Job) -> None:
    own = psutil.Process().name()
    settings = TrainRun(required_processes=(own, "no-such-daemon"))
    found = wrong(job.model_copy(update={"settings": settings}))
    assert list(found) == ["process no-such-daemon"]
    assert "start no-such-daemon on every node" in found["process no-such-daemon"]


def test_a_host_that_is_excluded_starts_nothing(job: Job) -> None:
    settings = TrainRun(excluded_hosts=(socket.gethostname(),))
    assert list(wrong(job.model_copy(update={"settings": settings}))) == ["host"]


def test_every_problem_is_told_at_once(job: Job) -> None:
    job.parts["train"].bin.unlink()
    settings = TrainRun(required_processes=("no-such-daemon",))
    with pytest.raises(Refused, match=r"text of train: .*; process no-such-daemon: does not run, wanted: runs"):
        insist(job.model_copy(update={"settings": settings}), {})
    assert "well" in table(list(look(job, {})))
