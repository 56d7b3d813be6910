import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bunbuku_contracts import BunbukuError
from bunbuku_pretrain import AdamW, TrainConfig, TrainRun
from bunbuku_pretrain.job import Job, Measured, StepRecord
from bunbuku_pretrain.observations import Statistics
from bunbuku_pretrain.outlets import TensorBoard, WeightsAndBiases, of_statistics, of_step
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROWS = ("embed", *map(str, range(1, 11)), "head")


def test_a_step_has_the_numbers_of_every_part_that_was_held_out():
    web = Measured(loss=2.0, bits_per_byte=1.1, tokens=100)
    found = of_step(StepRecord(step=1, tokens=10, loss=3.0, validation={"web": web}))
    assert found == {"train/loss": 3.0, "validation/web/loss": 2.0, "validation/web/bits_per_byte": 1.1}


def test_statistics_are_told_whole_and_row_by_row_in_the_order_of_the_layers():
    row = tuple(map(float, range(12)))
    one = Statistics(
        step=1,
        tokens=10,
        gradient_norm=row,
        weight_norm=row,
        update_ratio=row,
        activation_rms=row,
        activation_max=row,
        root_moment_max=row,
        steep_share=row,
        root_moment_quantiles=(1.0, 2.0, 3.0, 4.0, 5.0),
        memory_bytes=2**31,
        seconds=0,
    )
    found = of_statistics(one, ROWS)
    assert found["statistics/update_ratio"] == 11 and found["statistics/memory_gib"] == 2
    assert found["statistics/root_moment_50%"] == 3
    layers = sorted(tag for tag in found if tag.startswith("layers/gradient_norm/"))
    assert [found[tag] for tag in layers] == [*row[1:11], 0, 11]


def test_tensorboard_has_texts_and_after_beginning_anew_nothing_of_before(tmp_path: Path):
    board = TensorBoard(tmp_path / "board")
    board.scalars({"train/loss": 9.0}, step=1)
    board.begin_anew()
    board.scalars({"train/loss": 3.0}, step=1)
    board.text("samples/吾輩は", "吾輩は猫である", step=1)
    board.close()
    events = EventAccumulator(str(tmp_path / "board"))
    events.Reload()
    assert [event.value for event in events.Scalars("train/loss")] == [3.0]
    (text,) = events.Tensors("samples/吾輩は")
    assert text.tensor_proto.string_val[0].decode() == "    吾輩は猫である"
    assert events.SummaryMetadata("samples/吾輩は").plugin_data.plugin_name == "text"


def job(scratch: Path) -> Job:
    config = TrainConfig(sequence_length=8, batch_tokens=8, total_tokens=8, optimizer=AdamW(learning_rate=1e-3))
    return Job.model_construct(config=config, settings=TrainRun(), architecture=config, scratch=scratch)


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_without_wandb_the_extra_is_named(tmp_path: Path):
    with pytest.raises(BunbukuError, match=r"`watch\.wandb_project` is 'tanuki', and wandb is not installed") as caught:
        WeightsAndBiases("tanuki", "run", job(tmp_path), tmp_path)
    assert "bunbuku-pretrain[wandb]" in caught.value.hint


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_is_told_without_a_network(tmp_path: Path):
    script = (
        "import sys; from pathlib import Path; from types import SimpleNamespace;"
        "from bunbuku_pretrain import AdamW, ModelShape, TrainConfig; from bunbuku_pretrain.outlets import WeightsAndBiases;"
        "config = TrainConfig(sequence_length=8, batch_tokens=8, total_tokens=8, optimizer=AdamW(learning_rate=1e-3));"
        "shape = ModelShape(layers=1, hidden_size=8, ffn_size=8, heads=1, kv_heads=1).architecture(vocabulary=8, sequence_length=8);"
        "job = SimpleNamespace(config=config, architecture=shape, scratch=Path('.run.0123456789ab.scratch'));"
        "told = WeightsAndBiases('tanuki', 'run', job, Path(sys.argv[1]));"
        "told.scalars({'train/loss': 3.25}, step=1); told.text('samples/吾輩は', '吾輩は猫である', step=1); told.close()"
    )
    environment = os.environ | {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (written,) = tmp_path.rglob("run-*.wandb")
    assert b"train/loss" in written.read_bytes() and "吾輩は猫である".encode() in written.read_bytes()
