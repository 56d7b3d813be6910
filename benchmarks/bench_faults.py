"""The nine failures that cost Tanuki's pre-training most, done to a small real run by real means.

    python benchmarks/bench_faults.py [F1 F2 …]

For each: what was detected, whether the run came to its end without a person, the steps that were taken again, and the
seconds from the fault to the first step that had not been taken before. Where a fault cannot be survived, recovery means
refusal before the first step, with the remedy.
"""

import argparse
import logging
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bench_spikes import (
    BATCH,
    POISONED,
    SEQUENCE,
    SEQUENCES,
    VOCABULARY,
    TextConfig,
    make_tokenizer,
    make_tokens,
    poison,
)
from bench_spikes import STEPS as STEPS_POISONED
from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Draft, Tokenizer, Tokens, load, stage
from bunbuku_pretrain import AdamW, Constant, ModelShape, TrainConfig, TrainRun, train
from bunbuku_pretrain.course import Course
from bunbuku_pretrain.indexed import IndexedFile, IndexedWriter
from bunbuku_pretrain.launching import Elastic
from bunbuku_pretrain.observations import Event, read
from bunbuku_pretrain.phases import Phase
from bunbuku_pretrain.pulses import read_pulses
from bunbuku_pretrain.spikes import RollBack, Skip

STEPS = 120
AT = 75
"""The fault comes once the history has so many lines."""
HELD_SECONDS = 3.0

# Run by every Python that finds it: a weight of the first rank turns into what a broken memory cell might leave there.
BROKEN_MEMORY = f"""
import os, pathlib, sys, threading, time

def work():
    while not hasattr(sys.modules.get("bunbuku_pretrain.mcore.loop"), "Trainer"):
        time.sleep(0.001)
    trainer, mark = sys.modules["bunbuku_pretrain.mcore.loop"].Trainer, pathlib.Path(os.environ["MARK"])
    step = trainer.train_step

    def broken(self):
        if self.step >= {AT} and not mark.exists():
            mark.touch()
            dict(self.weights.named_parameters())["decoder.layers.1.mlp.linear_fc1.weight"].data[0, 0] = float("nan")
        return step(self)

    trainer.train_step = broken

if "RANK" in os.environ:
    threading.Thread(target=work, daemon=True).start()
"""


class Row(NamedTuple):
    """What came of a fault."""

    fault: str
    detected: str
    recovered: str
    steps_lost: str
    seconds: str


class Bench:
    """A tokenizer, a text, and runs on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokenizer = make_tokenizer(folder / "tokenizer", TextConfig(seed=0))
        self.tokens = make_tokens(folder / "tokens", TextConfig(seed=0), self.tokenizer)

    def config(self, **changes: object) -> TrainConfig:
        fields: dict[str, object] = {
            "model": ModelShape(layers=2, hidden_size=48, ffn_size=128, heads=4, kv_heads=2),
            "sequence_length": SEQUENCE,
            "batch_tokens": BATCH,
            "total_tokens": STEPS * BATCH,
            "optimizer": AdamW(learning_rate=3e-3),
            "schedule": Constant(),
            "validation_interval_steps": 40,
        }
        return TrainConfig.model_validate(fields | changes)

    def run(self, name: str, config: TrainConfig, tokens: Artifact[Tokens] | None = None, **settings: Any) -> Path:
        fields: dict[str, object] = {"micro_batch_sequences": SEQUENCES // 2, "checkpoint_interval_steps": 20}
        run = TrainRun.model_validate(fields | {"restart_delay_seconds": 0.5} | settings)
        return train(self.folder / name, config, tokens or self.tokens, self.tokenizer, run=run).dir

    def hurt(
        self,
        fault: str,
        name: str,
        how: Callable[[Path], None],
        config: TrainConfig,
        *,
        kinds: tuple[str, ...],
        **settings: Any,
    ) -> Row:
        """Do something to a run on its way, and see it end all the same."""
        hurt = Hurt(self.folder, name, how)
        hurt.start()
        out = self.run(name, config, **settings)
        hurt.join()
        events = read(Event, out / "log" / "events.jsonl")
        told = next((event.text for event in events if event.kind in kinds and event.time >= hurt.time), "")
        back = next((event.step for event in events if event.kind == "restart"), None)
        lost = hurt.step - back if back is not None else 0
        recovered = _recovered(out, config, told)
        return Row(fault, _first(told), recovered, str(lost), f"{hurt.seconds:.1f}")

    def refused(
        self, fault: str, name: str, config: TrainConfig, tokens: Artifact[Tokens] | None = None, **settings: Any
    ) -> Row:
        """Begin a run that cannot go well."""
        clock = time.monotonic()
        try:
            self.run(name, config, tokens, **settings)
        except BunbukuError as error:
            taken = _lines(self.folder, name)
            assert taken == 0, f"{taken} lines of history"
            return Row(
                fault, _first(str(error)), f"refused: {_first(error.hint)}", "0", f"{time.monotonic() - clock:.1f}"
            )
        raise AssertionError(f"{fault} was not refused")


def _recovered(out: Path, config: TrainConfig, told: str) -> str:
    """Whether a run that was hurt saw it, and is published with all its steps."""
    taken, wanted = load(out, Checkpoint).spec.step, Course(config).steps
    if taken != wanted:
        return f"no: {taken} of {wanted} steps"
    return "yes" if told else "no: it went on, and nothing was told"


class Hurt(threading.Thread):
    """Waits for a moment in a run, does something to it, and sees when it has overcome it."""

    def __init__(self, folder: Path, name: str, how: Callable[[Path], None]) -> None:
        super().__init__(daemon=True)
        self._folder, self._name, self._how = folder, name, how
        self.step, self.seconds, self.time = 0, float("nan"), 0.0

    def run(self) -> None:
        while _lines(self._folder, self._name) < AT:
            time.sleep(0.005)
        (scratch,) = self._folder.glob(f".{self._name}.*.scratch")
        self.time = time.time()
        self._how(scratch)
        clock = time.monotonic()
        self.step = _lines(self._folder, self._name) - 1
        fallen = False
        while scratch.is_dir():
            step = _lines(self._folder, self._name) - 1
            fallen = fallen or step < self.step
            if step > self.step + 2 and (fallen or time.monotonic() - clock > 1):
                self.seconds = time.monotonic() - clock
                return
            time.sleep(0.02)


def _lines(folder: Path, name: str) -> int:
    found = list(folder.glob(f".{name}.*.scratch/history.jsonl"))
    try:
        return found[0].read_text().count("\n") if found else 0
    except FileNotFoundError:
        return 0


def _first(text: str) -> str:
    line = text.splitlines()[0] if text else "nothing"
    return line if len(line) < 150 else line[:149] + "…"


def _signal(rank: int, number: signal.Signals) -> Callable[[Path], None]:
    return lambda scratch: os.kill(read_pulses(scratch)[rank].pid, number)


def _stop_while_saving(scratch: Path) -> None:
    while not list((scratch / "states").glob("*.partial")):
        time.sleep(0.0005)
    _signal(0, signal.SIGSTOP)(scratch)


def _lose_node(scratch: Path) -> None:
    pulse = next(one for one in read_pulses(scratch) if one.host == "second")
    agent = int(Path(f"/proc/{pulse.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(agent, signal.SIGKILL)


def f1(bench: Bench) -> Row:
    injected = bench.folder / "injected"
    injected.mkdir()
    (injected / "sitecustomize.py").write_text(BROKEN_MEMORY)
    before = os.environ.get("PYTHONPATH", "")
    os.environ |= {"PYTHONPATH": f"{injected}{os.pathsep}{before}", "MARK": str(bench.folder / "broken")}
    try:
        config = bench.config(spikes=RollBack(back_steps=4))
        row = bench.hurt("F1 a gradient is not a number", "f1", lambda _: None, config, kinds=("nan",))
    finally:
        os.environ["PYTHONPATH"] = before
    told = read(Event, bench.folder / "f1" / "log" / "events.jsonl")
    back = next(event for event in told if event.kind == "rollback")
    lost = back.step - max(step for step in range(0, back.step - 3, 20))
    return row._replace(steps_lost=f"{lost}, 4 of them passed over")


def f2(bench: Bench) -> Row:
    config = bench.config()
    return bench.hurt(
        "F2 a rank hangs while it saves", "f2", _stop_while_saving, config, kinds=("failure",), step_timeout_seconds=6, save_timeout_seconds=6
    )  # fmt: skip


def f3(bench: Bench) -> Row:
    agents = tuple(f"{{agent}} --host {name} --address 127.0.0.1" for name in ("first", "second"))
    launcher = Elastic(agents=agents, least_nodes=1, most_nodes=2, join_seconds=5, address="127.0.0.1")
    return bench.hurt(
        "F3 a node dies", "f3", _lose_node, bench.config(), kinds=("restart",), launcher=launcher, ranks=2
    )


def f4(bench: Bench) -> Row:
    return bench.hurt(
        "F4 a bus error while reading", "f4", _signal(0, signal.SIGBUS), bench.config(), kinds=("failure",)
    )


def f5(bench: Bench) -> Row:
    tokens = make_tokens(bench.folder / "tokens-5", TextConfig(seed=5), bench.tokenizer)
    (bench.folder / "tokens-5" / "train.idx").unlink()
    return bench.refused("F5 an index is missing", "f5", bench.config(), tokens)


def f6(bench: Bench) -> Row:
    phases = (Phase(name="long", tokens=4_000 * BATCH, mix={"train": 1.0}, max_epochs=1),)
    return bench.refused("F6 the text runs out", "f6", bench.config(total_tokens=None, phases=phases))


def f7(bench: Bench) -> Row:
    required = ("network-daemon-that-nobody-started",)
    return bench.refused("F7 a helper of the network is missing", "f7", bench.config(), required_processes=required)


def _hold_up(scratch: Path) -> None:
    """Let a rank stand still for a while, as behind a network that lost its helper, and go on."""
    _signal(0, signal.SIGSTOP)(scratch)
    time.sleep(HELD_SECONDS)
    _signal(0, signal.SIGCONT)(scratch)


def f7b(bench: Bench) -> Row:
    """The same while the run goes: nothing died, and the pace falls."""
    return bench.hurt("F7 a step is slow", "f7b", _hold_up, bench.config(), kinds=("slow",))


def f8(bench: Bench) -> Row:
    config = bench.config(total_tokens=STEPS_POISONED * BATCH, spikes=Skip())
    with poison(bench.folder):
        out = bench.run("f8", config)
    spikes = [event for event in read(Event, out / "log" / "events.jsonl") if event.kind == "spike"]
    skipped = {event.step for event in spikes}
    told = next((event.text for event in spikes), "")
    seen = f"{len(POISONED & skipped)} of {len(POISONED)} poisoned steps skipped, {len(skipped - POISONED)} others"
    recovered = _recovered(out, config, told if skipped >= POISONED else "")
    return Row("F8 spikes", _first(told), f"{recovered}: {seen}", str(len(skipped)), "0")


@stage("bench.leaky")
def make_leaky(draft: Draft, config: TextConfig, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer]) -> Tokens:
    """The same text; the validation part is forty documents of it that the training part has thirty times."""
    del config
    whole = IndexedFile(tokens.dir / "train")
    favoured = [whole[number] for number in range(40)]
    for part, documents in (("train", [whole[n] for n in range(300)] + favoured * 30), ("validation", favoured)):
        with IndexedWriter(draft.dir / part, "uint16") as writer:
            for ids in documents:
                writer.add(ids, np.array([len(ids)], dtype=np.int32))
        draft.count(writer.bin, rows=writer.documents, tokens=writer.tokens, part=part)
        draft.count(writer.idx, part=part)
    return Tokens(tokenizer=tokenizer.content, vocab_size=VOCABULARY, eod_id=2, dtype="uint16")


def f9(bench: Bench) -> Row:
    leaky = make_leaky(bench.folder / "leaky", TextConfig(seed=0), bench.tokens, bench.tokenizer)
    config = bench.config(
        optimizer=AdamW(learning_rate=1e-2), total_tokens=2 * STEPS * BATCH, validation_interval_steps=20
    )
    out = bench.run("f9", config, leaky)
    told = [event.text for event in read(Event, out / "log" / "events.jsonl") if event.kind == "diagnosis"]
    named = bool(told) and "learned by heart" in told[0]  # which is what is wrong with this text
    cause = "yes: the cause is named" if named else "no: the cause is not named"
    return Row("F9 validation below training", _first(told[0] if told else ""), cause, "0", "0")


FAULTS = {f.__name__.upper(): f for f in (f1, f2, f3, f4, f5, f6, f7, f7b, f8, f9)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", metavar="F", help="which ones; all if left out")
    args = parser.parse_args()
    logging.getLogger("bunbuku_pretrain").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        print(
            "| fault | detected | recovered without a person | steps lost | seconds to resume |\n|---|---|---|---|---|"
        )
        for name in args.faults or FAULTS:
            print(f"| {' | '.join(FAULTS[name](bench))} |", flush=True)


if __name__ == "__main__":
    main()
