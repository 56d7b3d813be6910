"""`kill -9` while text is tokenized and packed, in a step, in a save, while ranks start: nothing is ever other than it was.

After every kill the states and the history on the disk are compared with those of a run that was left alone, and in the end
what was published. A state has weights, both moments of AdamW, the place in the text and what the policy for bad steps
knows; there is no state of a random generator in it, since nothing draws from one (weights come by name, the order by seed).
"""

import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, Config, Corpus, Draft, Tokenizer, stage
from bunbuku_pretrain import TokenizeConfig, TrainConfig, TrainRun, tokenize, train

pytestmark = [pytest.mark.long, pytest.mark.timeout(5400)]

SCRIPT = """
import sys
from pathlib import Path
from bunbuku_contracts import Corpus, Tokenizer, load
from bunbuku_pretrain import TokenizeConfig, TrainConfig, TrainRun, tokenize, train

folder, corpus, tokenizer, config, run = sys.argv[1:]
corpus, tokenizer = load(Path(corpus), Corpus), load(Path(tokenizer), Tokenizer)
tokens = tokenize(Path(folder, "tokens"), TokenizeConfig(), corpus, tokenizer)
train(Path(folder, "trained"), TrainConfig.model_validate_json(config), tokens, tokenizer,
      run=TrainRun.model_validate_json(run))
"""
DOCUMENTS = 40_000
_logger = logging.getLogger(__name__)


class Documents(Config):
    count: int


@pytest.fixture(scope="session")
def long_corpus(made: Path, tiny: SimpleNamespace) -> Artifact[Corpus]:
    """So much text that tokenizing and packing it take a while."""

    @stage("test.long-corpus")
    def make(draft: Draft, config: Documents) -> Corpus:
        for part, count in (("train", config.count), ("validation", 20)):
            path = draft.dir / part / "part-00000.parquet"
            path.parent.mkdir(exist_ok=True)
            texts = tiny.documents(count, count)
            constant = {"source": "test", "url": None, "licence": "CC0", "language": "ja"}
            rows = [{"id": f"{part}:{row}", "text": text, **constant} for row, text in enumerate(texts)]
            pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=1000)
            draft.count(path, rows=count, part=part)
        return Corpus()

    return make(made / "long-corpus", Documents(count=DOCUMENTS))


class Alone(threading.Thread):
    """Writes down the history and the hashes of every state of a run that nobody disturbs."""

    def __init__(self, out: Path) -> None:
        super().__init__(daemon=True)
        self._out, self.over = out, threading.Event()
        self.states: dict[str, Any] = {}
        self.history: dict[int, dict[str, Any]] = {}

    def run(self) -> None:
        while not self.over.wait(0.02):
            self.states |= states(self._out)
            self.history |= history(self._out)


def scratch(out: Path) -> Path | None:
    return next(out.parent.glob(f".{out.name}.*.scratch"), None)


def states(out: Path) -> dict[str, Any]:
    """SHA-256 of every file of every whole state."""
    found: dict[str, Any] = {}
    for path in (scratch(out) or out).glob("states/step-*/hashes.json"):
        if path.parent.suffix != ".partial":
            try:
                found[path.parent.name] = json.loads(path.read_text())
            except (FileNotFoundError, ValueError):
                continue
    return found


def history(out: Path) -> dict[int, dict[str, Any]]:
    """The steps taken so far, without what the clock says."""
    try:
        text = ((scratch(out) or out) / "history.jsonl").read_text()
    except FileNotFoundError:
        return {}
    whole = [json.loads(line) for line in text.split("\n")[:-1]]
    return {one["step"]: {name: value for name, value in one.items() if name != "seconds"} for one in whole}


def moment(kind: str, folder: Path, chance: random.Random) -> Callable[[], bool]:
    """When to kill."""
    out = folder / "trained"
    if kind == "tokenize":
        least = chance.randint(1, 400_000)
        drafts = ".tokens.*.draft/train.bin"
        return lambda: any(path.stat().st_size >= least for path in folder.glob(drafts))
    if kind == "pack":
        return lambda: bool(scratch(out) and list((scratch(out) or out).glob("packings/*.partial")))
    if kind == "save":
        return lambda: bool(scratch(out) and list((scratch(out) or out).glob("states/*.partial/*.distcp")))
    if kind == "start":
        until = time.monotonic() + chance.uniform(0.5, 15)
        return lambda: time.monotonic() > until
    wanted = len(history(out)) + chance.randint(1, 3)
    return lambda: len(history(out)) >= wanted


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        pytest.param(
            {"ranks": 1},
            ["tokenize"] * 3 + ["pack"] * 3 + ["save"] * 4 + ["step"] * 6 + ["start"] * 4,
            id="20 kills of one rank",
        ),
        pytest.param(
            {"ranks": 2, "distributed_optimizer": True},
            ["pack"] + ["save"] * 2 + ["step"] * 3 + ["start"],
            id="7 kills of two ranks that share the moments",
        ),
    ],
)
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(
    tmp_path: Path,
    long_corpus: Artifact[Corpus],
    tokenizer: Artifact[Tokenizer],
    tiny: SimpleNamespace,
    settings: dict[str, Any],
    kinds: list[str],
) -> None:
    chance = random.Random(11)
    config = tiny.config(steps=40).model_copy(update={"packing": "best_fit", "overlap": "ignore"})
    run = TrainRun(micro_batch_sequences=4, checkpoint_interval_steps=3, keep_checkpoints=100, **settings)
    # What builds text comes first, and in an order of its own; the rest in any.
    building = [kind for kind in kinds if kind in ("tokenize", "pack")]
    rest = [kind for kind in kinds if kind not in building]
    chance.shuffle(rest)

    (tmp_path / "alone").mkdir()
    alone = Alone(tmp_path / "alone" / "trained")
    alone.start()
    tokens = tokenize(tmp_path / "alone" / "tokens", TokenizeConfig(), long_corpus, tokenizer)
    expected = train(tmp_path / "alone" / "trained", config, tokens, tokenizer, run=run)
    alone.over.set()
    alone.join()

    folder = tmp_path / "killed"
    folder.mkdir()
    command = [sys.executable, "-c", SCRIPT, str(folder), str(long_corpus.dir), str(tokenizer.dir)]
    command += [config.model_dump_json(), run.model_dump_json()]
    for kind in (*building, *rest):
        killed(kind, command, folder, chance)
        after = states(folder / "trained")
        assert {name: alone.states[name] for name in after} == after, kind
        steps = history(folder / "trained")
        assert {step: alone.history[step] for step in steps} == steps, kind
    again = tokenize(folder / "tokens", TokenizeConfig(), long_corpus, tokenizer)
    assert again.content == tokens.content
    made = train(folder / "trained", TrainConfig.model_validate(config.model_dump()), again, tokenizer, run=run)
    assert made.content == expected.content


def killed(kind: str, command: list[str], folder: Path, chance: random.Random) -> None:
    """Start it, and kill it at such a moment: publisher and ranks, with no time to say anything."""
    log = folder / "said.log"
    with log.open("ab") as said:
        process = subprocess.Popen(command, start_new_session=True, stdout=said, stderr=said)
    now = moment(kind, folder, chance)
    deadline = time.monotonic() + 400
    while not now():
        assert process.poll() is None, f"it ended before a {kind!r}: {log.read_text()[-2000:]}"
        assert time.monotonic() < deadline, f"it never came to a {kind!r}"
        time.sleep(0.0005)
    time.sleep(chance.uniform(0, 0.03) if kind in ("step", "start") else 0)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    _logger.info("killed in a %r, %s records behind it", kind, len(history(folder / "trained")))
