"""What a policy for bad steps is worth: batches of random ids come between those of a text that can be learned.

    python benchmarks/bench_spikes.py --seeds 3

Every run reads the same text in the same order. `gap` is how much worse the final validation loss is than that of a run
that was told to skip the poisoned steps; a false skip is a clean step that was not trained on. The text is a Markov chain.
"""

import argparse
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import fmean

import numpy as np
from bunbuku_contracts import Artifact, Config, Draft, Tokenizer, Tokens, stage
from bunbuku_pretrain import AdamW, Constant, ModelShape, TrainConfig, TrainRun, train
from bunbuku_pretrain.indexed import IndexedWriter
from bunbuku_pretrain.job import StepRecord
from bunbuku_pretrain.spikes import AnySpikePolicy, LowerRate, RollBack, Skip, Warn
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models

VOCABULARY, SEQUENCE, SEQUENCES = 128, 64, 16
BATCH = SEQUENCE * SEQUENCES
BURSTS = ((151, 158), (199, 206))
POISONED = {step for first, last in BURSTS for step in range(first, last + 1)}
STEPS = 218
POISON = f"""
import dataclasses, os, sys, threading, time

def work():
    while not hasattr(sys.modules.get("bunbuku_pretrain.mcore.feeding"), "Feed"):
        time.sleep(0.001)
    import torch
    feed = sys.modules["bunbuku_pretrain.mcore.feeding"].Feed
    training = feed.training

    def poisoned(self, step):
        for number, batch in enumerate(training(self, step)):
            if step.number in {sorted(POISONED)}:
                rows, length = batch.tokens_BS.shape
                chance = torch.Generator().manual_seed(1000 * step.number + number)
                ids = torch.randint(4, {VOCABULARY}, (rows, length + 1), generator=chance)
                batch = dataclasses.replace(batch, tokens_BS=ids[:, :-1].contiguous(), labels_BS=ids[:, 1:].contiguous())
            yield batch

    feed.training = poisoned

if "RANK" in os.environ:
    threading.Thread(target=work, daemon=True).start()
"""
OLMO = {"sides": "both", "remember_bad": True}
POLICIES: dict[str, AnySpikePolicy] = {
    "warn (nothing is done)": Warn(),
    "skip, the rule of OLMo-core": Skip(**OLMO),
    "skip, ours": Skip(),
    "roll back 8 steps": RollBack(back_steps=8),
    "lower the rate for 50 steps": LowerRate(recovery_steps=50),
}


class TextConfig(Config):
    seed: int


@stage("bench.tokenizer")
def make_tokenizer(draft: Draft, config: TextConfig) -> Tokenizer:
    special = {"<unk>": 0, "<s>": 1, "</s>": 2, "<pad>": 3}
    vocabulary = special | {chr(0x4E00 + number): number for number in range(4, VOCABULARY)}
    FastTokenizer(models.WordLevel(vocabulary, unk_token="<unk>")).save(str(draft.dir / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    (draft.dir / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **names})
    )
    return Tokenizer(vocab_size=VOCABULARY)


@stage("bench.tokens")
def make_tokens(draft: Draft, config: TextConfig, tokenizer: Artifact[Tokenizer]) -> Tokens:
    chance = np.random.default_rng(config.seed)
    likely = chance.integers(4, VOCABULARY, (VOCABULARY, 4))
    train = np.concatenate([_walk(likely, chance) for _ in range(2_000)])
    held_out = np.concatenate([_walk(likely, chance) for _ in range(40)])
    for part, ids in (("train", train), ("validation", held_out)):
        lengths = np.full(len(ids) // 200, 200, dtype=np.int32)
        with IndexedWriter(draft.dir / part, "uint16") as writer:
            writer.add(ids[: len(lengths) * 200], lengths)
        draft.count(writer.bin, rows=writer.documents, tokens=writer.tokens, part=part)
        draft.count(writer.idx, part=part)
    return Tokens(tokenizer=tokenizer.content, vocab_size=VOCABULARY, eod_id=2, dtype="uint16")


def _walk(likely: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """A document: each id is one of four that its predecessor makes likely, or, rarely, any."""
    ids = np.empty(200, dtype=np.int64)
    ids[0] = 4
    steps, wild = chance.integers(0, 4, 200), chance.random(200) < 0.05
    for place in range(1, 200):
        ids[place] = chance.integers(4, VOCABULARY) if wild[place] else likely[ids[place - 1], steps[place]]
    ids[0], ids[-1] = 1, 2
    return ids


@contextmanager
def poison(folder: Path) -> Iterator[None]:
    """While this lasts, ranks read random ids in the poisoned steps: each finds a `sitecustomize` that sees to it."""
    injected = folder / "poison"
    injected.mkdir(exist_ok=True)
    (injected / "sitecustomize.py").write_text(POISON)
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{injected}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PYTHONPATH"] = before


def measure(folder: Path, policy: AnySpikePolicy, seed: int, *, poisoned: bool) -> tuple[float, int, int]:
    """Final validation loss, poisoned steps trained on, clean steps not trained on. Without poison its steps are skipped."""
    tokenizer = make_tokenizer(folder / "tokenizer", TextConfig(seed=0))
    tokens = make_tokens(folder / f"tokens-{seed}", TextConfig(seed=seed), tokenizer)
    config = TrainConfig(
        model=ModelShape(layers=2, hidden_size=48, ffn_size=128, heads=4, kv_heads=2),
        sequence_length=SEQUENCE,
        batch_tokens=BATCH,
        total_tokens=STEPS * BATCH,
        optimizer=AdamW(learning_rate=5e-3),
        schedule=Constant(warmup_tokens=20 * BATCH),
        seed=seed,
        validation_interval_steps=10_000,
        spikes=policy,
        skip_steps=() if poisoned else BURSTS,
    )
    out = folder / "out"
    run = TrainRun(micro_batch_sequences=SEQUENCES, checkpoint_interval_steps=50, keep_checkpoints=1)
    with poison(folder) if poisoned else nullcontext():
        made = train(out, config, tokens, tokenizer, run=run)
    history = [StepRecord.model_validate_json(line) for line in (out / "log/history.jsonl").read_text().splitlines()]
    skipped = {record.step for record in history if record.skipped}
    loss = made.manifest.metrics["validation.loss"]
    shutil.rmtree(out)
    return loss, len(POISONED - skipped), len(skipped - POISONED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    logging.getLogger("bunbuku_pretrain").setLevel(logging.ERROR)
    found: dict[str, list[tuple[float, int, int]]] = {name: [] for name in POLICIES}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(args.seeds):
            clean, *_ = measure(Path(folder), Warn(), seed, poisoned=False)
            print(f"seed {seed}, no poison: {clean:.4f}", flush=True)
            for name, policy in POLICIES.items():
                loss, trained, false = measure(Path(folder), policy, seed, poisoned=True)
                found[name].append((loss - clean, trained, false))
                print(
                    f"seed {seed}, {name}: {loss:.4f}, {trained} poisoned trained on, {false} false",
                    flush=True,
                )
    print("| policy | gap, nats (each seed) | poisoned steps trained on | false skips |\n|---|---|---|---|")
    for name, rows in found.items():
        gaps = ", ".join(f"{gap:+.4f}" for gap, _, _ in rows)
        print(
            f"| {name} | {fmean(gap for gap, _, _ in rows):+.4f} ({gaps}) "
            f"| {sum(row[1] for row in rows)} of {len(POISONED) * len(rows)} | {sum(row[2] for row in rows)} |"
        )


if __name__ == "__main__":
    main()
