"""Tokens a second of the training loop on one CPU core, against a plain Hugging Face loop and litgpt; what watching costs.

    python benchmarks/bench_train.py --out DIR [--litgpt PYTHON] [--rounds 10] [--steps 4]

PYTHON is the interpreter of an environment with `litgpt` and the same torch; without it litgpt is left out. All train the
same Llama of 10.4 million parameters in fp32: 8 layers, width 256, 8 heads, feed-forward width 688, vocabulary 8,064 (a
multiple of 128, so that nobody pads), 4 sequences of 256 tokens a step, AdamW, gradients clipped to norm 1, one thread, eager.
Each has a process of its own and waits for its turn: in every round each takes some steps, in another order each time.

The peers get what is best for them: torch's fused AdamW and fused attention. Ours is the whole step of `bunbuku-pretrain
train`: batch, schedule, both checks for numbers that are none, and the record. Watching (the statistics of every layer, at their
default of every 20 steps) is timed in every round; saving is timed by itself, and its share is that of one state every 100
steps, the default. What the step itself says of the loss must be the same in all.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

VOCABULARY, LENGTH, BATCH = 8064, 256, 4
LAYERS, WIDTH, HEADS, FEED_FORWARD = 8, 256, 8, 688
RATE = 1e-3
EVERY = 100
_open = contextlib.ExitStack()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--litgpt")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--contend", nargs=2, help="used by itself")
    options = parser.parse_args()
    if options.contend:
        contend(options.contend[0], Path(options.contend[1]))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    prepare(options.out)
    interpreters = {"bunbuku": sys.executable, "Hugging Face": sys.executable}
    interpreters |= {"litgpt": options.litgpt} if options.litgpt else {}
    contenders = {name: Contender(name, python, options.out) for name, python in interpreters.items()}
    rounds = [play(contenders, options.steps, number) for number in range(options.rounds)]
    tell(rounds, options.steps)
    report = contenders["bunbuku"].ask("save")
    step = median(one["bunbuku"]["cpu"] for one in rounds) / options.steps
    print(f"saving: {report['cpu']:.2f} CPU s a state, {100 * report['cpu'] / (EVERY * step):.2f} % of {EVERY} steps")
    for name, contender in contenders.items():
        print(f"{name}: peak memory {contender.ask('memory')['mib']:.0f} MiB")
        contender.close()


def play(contenders: dict[str, "Contender"], steps: int, number: int) -> dict[str, dict[str, float]]:
    order = [*contenders, "watched"]
    random.Random(number).shuffle(order)
    return {
        name: contenders["bunbuku" if name == "watched" else name].ask(f"{'watched' * (name == 'watched')} {steps}")
        for name in order
    }


def tell(rounds: list[dict[str, dict[str, float]]], steps: int) -> None:
    tokens = steps * LENGTH * BATCH
    print(
        "| loop | tokens/CPU s | tokens/s | CPU time against ours (95 % interval) | first loss |\n|---|---|---|---|---|"
    )
    for name in rounds[0]:
        if name == "watched":
            continue
        cpu, wall = ([one[name][clock] for one in rounds] for clock in ("cpu", "wall"))
        low, middle, high = interval([one[name]["cpu"] / one["bunbuku"]["cpu"] for one in rounds])
        first = f"{rounds[0][name]['loss']:.3f}"
        ratio = f"{middle:.3f} ({low:.3f} to {high:.3f})"
        print(f"| {name} | {tokens / median(cpu):,.0f} | {tokens / median(wall):,.0f} | {ratio} | {first} |")
    low, middle, high = interval([one["watched"]["cpu"] / one["bunbuku"]["cpu"] for one in rounds])
    shares = [100 * (ratio - 1) / 20 for ratio in (low, middle, high)]  # every step of a watched turn is looked at
    print(f"watching one step in 20: {shares[1]:.2f} % ({shares[0]:.2f} to {shares[2]:.2f})")


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Median, and the 95 % interval of medians of resampled rounds."""
    chooser = np.random.default_rng(0)
    medians = np.median(chooser.choice(ratios, (2000, len(ratios))), axis=1)
    return float(np.quantile(medians, 0.025)), median(ratios), float(np.quantile(medians, 0.975))


class Contender:
    """A loop in a process of its own that waits for its turns."""

    def __init__(self, name: str, python: str, folder: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1", "PYTHONWARNINGS": "ignore"}
        command = [python, __file__, "--contend", name, str(folder)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self._answer() == {"ready": 1}, name

    def ask(self, what: str) -> dict[str, float]:
        assert self._process.stdin
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit("a contender ended")


def contend(name: str, folder: Path) -> None:
    """Take turns until there are no more."""
    step, others = {"bunbuku": ours, "Hugging Face": hugging_face, "litgpt": litgpt}[name](folder)
    for _ in range(2):  # allocate everything
        step()
    print(json.dumps({"ready": 1}), flush=True)
    for line in sys.stdin:
        what, _, count = line.strip().rpartition(" ")
        if line.strip() == "memory":
            answer = {"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        elif line.strip() == "save":
            answer = timed(others["save"], 1)
        else:
            answer = timed(others[what] if what else step, int(count))
        print(json.dumps(answer), flush=True)
    _open.close()


def timed(step: Callable[[], float], count: int) -> dict[str, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    first, *_ = [step() for _ in range(count)]
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "loss": first}


def batches(folder: Path) -> Callable[[], tuple[Any, Any]]:
    """Windows at random places of the token file, as either plain loop would read them."""
    import torch

    tokens = np.memmap(folder / "tokens" / "train.bin", dtype=np.uint16, mode="r")
    chooser = np.random.default_rng(0)

    def batch() -> tuple[Any, Any]:
        begins = chooser.integers(0, len(tokens) - LENGTH - 1, BATCH)
        rows = torch.from_numpy(np.stack([tokens[at : at + LENGTH + 1].astype(np.int64) for at in begins]))
        return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()

    return batch


def hugging_face(folder: Path) -> tuple[Callable[[], float], dict[str, Callable[[], float]]]:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    shape: dict[str, Any] = {"hidden_size": WIDTH, "intermediate_size": FEED_FORWARD, "num_hidden_layers": LAYERS}
    heads: dict[str, Any] = {
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": LENGTH,
    }
    config = LlamaConfig(vocab_size=VOCABULARY, **shape, **heads, tie_word_embeddings=False, use_cache=False)
    config._attn_implementation = "sdpa"
    model, batch = LlamaForCausalLM(config), batches(folder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step() -> float:
        ids, labels = batch()
        loss = model(ids, labels=labels, shift_labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step, {}


def litgpt(folder: Path) -> tuple[Callable[[], float], dict[str, Callable[[], float]]]:
    import torch
    from litgpt import GPT, Config  # pyright: ignore[reportMissingImports]
    from litgpt.utils import chunked_cross_entropy  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    shape: dict[str, Any] = {"n_layer": LAYERS, "n_embd": WIDTH, "n_head": HEADS, "intermediate_size": FEED_FORWARD}
    llama: dict[str, Any] = {
        "norm_class_name": "RMSNorm",
        "mlp_class_name": "LLaMAMLP",
        "bias": False,
        "parallel_residual": False,
    }
    rows: dict[str, Any] = {
        "block_size": LENGTH,
        "vocab_size": VOCABULARY,
        "padded_vocab_size": VOCABULARY,
        "rotary_percentage": 1.0,
    }
    model, batch = GPT(Config(name="bench", **shape, **llama, **rows)), batches(folder)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.02)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step() -> float:  # as litgpt/pretrain.py
        ids, labels = batch()
        loss = chunked_cross_entropy(model(ids), labels, chunk_size=0)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step, {}


def prepare(folder: Path) -> None:
    """Random text, and the job of a training on it, as the publisher leaves it to its ranks."""
    from bunbuku_contracts import BunbukuError, Config, Draft, Tokenizer, Tokens, stage
    from bunbuku_pretrain import AdamW, Constant, ModelShape, TrainConfig, TrainRun, train
    from bunbuku_pretrain.indexed import IndexedWriter

    class Nothing(Config):
        pass

    @stage("bench.tokenizer")
    def make_tokenizer(draft: Draft, config: Nothing) -> Tokenizer:
        from tokenizers import Tokenizer as Words
        from tokenizers.models import WordLevel

        Words(WordLevel({"<unk>": 0}, unk_token="<unk>")).save(str(draft.dir / "tokenizer.json"))
        return Tokenizer(vocab_size=VOCABULARY)

    tokenizer = make_tokenizer(folder / "tokenizer", Nothing())

    @stage("bench.tokens")
    def make_tokens(draft: Draft, config: Nothing) -> Tokens:
        with IndexedWriter(draft.dir / "train", "uint16") as writer:
            writer.add(np.random.default_rng(0).integers(4, VOCABULARY, 2_000_000), np.full(2000, 1000, dtype=np.int32))
        draft.count(draft.dir / "train.bin", tokens=2_000_000, rows=2000, part="train")
        draft.count(draft.dir / "train.idx", part="train")
        return Tokens(tokenizer=tokenizer.content, vocab_size=VOCABULARY, eod_id=2, dtype="uint16")

    tokens = make_tokens(folder / "tokens", Nothing())
    shape = ModelShape(layers=LAYERS, hidden_size=WIDTH, ffn_size=FEED_FORWARD, heads=HEADS, kv_heads=HEADS)
    config = TrainConfig(
        model=shape,
        sequence_length=LENGTH,
        batch_tokens=BATCH * LENGTH,
        total_tokens=8_000_000,
        optimizer=AdamW(learning_rate=RATE),
        schedule=Constant(),
    )
    try:
        settings = TrainRun(micro_batch_sequences=BATCH, time_limit_seconds=0.01)
        train(folder / "run", config, tokens, tokenizer, run=settings)
    except BunbukuError as stopped:
        print(stopped, file=sys.stderr)


def ours(folder: Path) -> tuple[Callable[[], float], dict[str, Callable[[], float]]]:
    from bunbuku_pretrain.mcore import compiler

    compiler.leave_out()
    from bunbuku_pretrain.job import Job, StepRecord
    from bunbuku_pretrain.mcore.checkpoint import Saver
    from bunbuku_pretrain.mcore.loop import Trainer
    from bunbuku_pretrain.mcore.runtime import started
    from bunbuku_pretrain.mcore.statistics import StatisticsMeter

    (path,) = folder.glob(".run.*.scratch/job.json")
    written = json.loads(path.read_text())
    written["settings"]["watch"]["statistics_interval_steps"] = 10**9
    job = Job.model_validate(written | {"resume": None})
    os.environ |= {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29871",
    }
    runtime = _open.enter_context(started(job.settings))
    trainer = Trainer(job, runtime)
    watch = job.settings.watch.model_copy(update={"statistics_interval_steps": 1})
    closely = job.model_copy(update={"settings": job.settings.model_copy(update={"watch": watch})})
    never, always = trainer.statistics, StatisticsMeter(trainer.weights, trainer.optimizer, closely, runtime)

    def step() -> float:
        record = trainer.train_step()
        assert isinstance(record, StepRecord) and record.loss is not None
        return record.loss

    def watched() -> float:
        trainer.statistics = always
        try:
            return step()
        finally:
            trainer.statistics = never

    def save() -> float:
        states = folder / "states"
        states.mkdir(exist_ok=True)
        saver = Saver(states, model=trainer.weights, optimizer=trainer.optimizer, runtime=runtime)
        saver.begin(trainer.state)
        saver.commit()
        return 0.0

    return step, {"watched": watched, "save": save}


if __name__ == "__main__":
    main()
