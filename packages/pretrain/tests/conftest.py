"""A small Japanese language of our own, and the artifacts that are made of it once a session.

Starting a rank imports torch and Megatron, seconds each time: tests share runs where they can.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from bunbuku_contracts import (
    Architecture,
    Artifact,
    Checkpoint,
    Config,
    Corpus,
    Draft,
    Experts,
    RouterNormalization,
    Tokenizer,
    Tokens,
    stage,
)
from bunbuku_pretrain import AdamW, Constant, Cosine, ModelShape, TokenizeConfig, TrainConfig, TrainRun, tokenize, train
from bunbuku_pretrain.hugging_face import model_config
from bunbuku_pretrain.layout import names
from hypothesis import settings
from safetensors.torch import save_file
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

settings.register_profile("pretrain", deadline=None)  # a busy machine is slow, and time says nothing here
settings.load_profile("pretrain")

WHO = ("狸", "和尚", "古道具屋", "茶釜", "村の人", "殿様", "子ども", "狐")
WHERE = ("寺で", "山で", "町で", "川のそばで", "橋の上で", "家の中で")
WHAT = ("お茶を飲んだ", "綱を渡った", "歌をうたった", "本を読んだ", "火をおこした", "笑った", "眠った", "手紙を書いた")


def sentence(chance: random.Random) -> str:
    return f"{chance.choice(WHO)}は{chance.choice(WHERE)}{chance.choice(WHAT)}。"


def documents(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    return ["".join(sentence(chance) for _ in range(chance.randint(1, 6))) for _ in range(count)]


class MadeConfig(Config):
    seed: int = 0
    vocabulary: int = 150


@stage("test.corpus")
def make_corpus(draft: Draft, config: MadeConfig) -> Corpus:
    """Two shards of train and one of validation."""
    shards = (("train", 0, 150), ("train", 1, 90), ("validation", 0, 20))
    for number, (part, shard, count) in enumerate(shards):
        path = draft.dir / part / f"part-{shard:05d}.parquet"
        path.parent.mkdir(exist_ok=True)
        texts = documents(count, config.seed + number)
        constant = {"source": "test", "url": None, "licence": "CC0", "language": "ja"}
        rows = [{"id": f"{part}:{shard}:{row}", "text": text, **constant} for row, text in enumerate(texts)]
        pq.write_table(pa.Table.from_pylist(rows), path)
        draft.count(path, rows=count, part=part)
    return Corpus()


@stage("test.tokenizer")
def make_tokenizer(draft: Draft, config: MadeConfig) -> Tokenizer:
    fast = FastTokenizer(models.BPE(unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Metaspace()
    fast.decoder = decoders.Metaspace()
    special = ["<unk>", "<s>", "</s>", "<pad>"]
    trainer = trainers.BpeTrainer(vocab_size=config.vocabulary, special_tokens=special, show_progress=False)
    fast.train_from_iterator(documents(200, seed=9), trainer)
    fast.save(str(draft.dir / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    (draft.dir / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return Tokenizer(vocab_size=fast.get_vocab_size())


class ModelConfig(Config):
    architecture: Architecture
    seed: int = 0


@stage("test.model")
def make_model(draft: Draft, config: ModelConfig, tokenizer: Artifact[Tokenizer]) -> Checkpoint:
    """A Hugging Face checkpoint of random weights."""
    write_random_model(draft.dir, config.architecture, tokenizer.spec, seed=config.seed)
    return Checkpoint(
        architecture=config.architecture, format="hf", step=10, tokens_seen=1000, tokenizer=tokenizer.content
    )


def write_random_model(folder: Path, architecture: Architecture, tokenizer: Tokenizer, *, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, kv = architecture, architecture.kv_heads * architecture.head_size
    experts = a.experts.count if a.experts else 0
    shared = (a.experts and a.experts.shared_ffn_size) or 0
    shapes = {
        "embed_tokens": (a.vocab_size, a.hidden_size),
        "lm_head": (a.vocab_size, a.hidden_size),
        "q_proj": (a.hidden_size, a.hidden_size),
        "k_proj": (kv, a.hidden_size),
        "v_proj": (kv, a.hidden_size),
        "o_proj": (a.hidden_size, a.hidden_size),
        **dict.fromkeys(("w1", "w3"), (a.ffn_size, a.hidden_size)),
        "w2": (a.hidden_size, a.ffn_size),
        **dict.fromkeys(("gate_proj", "up_proj"), (a.dense_ffn_size, a.hidden_size)),
        "down_proj": (a.hidden_size, a.dense_ffn_size),
        "gate": (experts, a.hidden_size),
    }
    tensors = {}
    for name in names(architecture):
        shape = shapes.get(name.split(".")[-2])
        if shape is not None and ".shared_expert." in name:
            shape = tuple(shared if size == a.dense_ffn_size else size for size in shape)
        if shape is None:
            tensors[name] = 1 + 0.1 * torch.randn(a.hidden_size, generator=generator)
        else:
            tensors[name] = 0.1 * torch.randn(shape, generator=generator)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(model_config(architecture, tokenizer)), encoding="utf-8")


def small(vocabulary: int, experts: Experts | None = None) -> Architecture:
    return Architecture(
        layers=2,
        hidden_size=32,
        ffn_size=48,
        heads=4,
        kv_heads=2,
        vocab_size=vocabulary,
        max_positions=32,
        experts=experts,
    )


NORMALIZED = Experts(count=4, active=2, normalization=RouterNormalization(scale=1.5, ddof=1), aux_loss_coefficient=0.02)
SHAPE = ModelShape(layers=2, hidden_size=32, ffn_size=48, heads=4, kv_heads=2)
SEQUENCE = 32
BATCH = 8 * SEQUENCE


def config(*, steps: int, model: ModelShape | None = SHAPE, milestones: tuple[int, ...] = ()) -> TrainConfig:
    return TrainConfig(
        model=model,
        sequence_length=SEQUENCE,
        batch_tokens=BATCH,
        total_tokens=steps * BATCH,
        optimizer=AdamW(learning_rate=1e-2, weight_decay=0.1),
        schedule=Cosine(warmup_tokens=4 * BATCH) if steps > 10 else Constant(),
        seed=3,
        validation_interval_steps=25,
        milestone_tokens=tuple(step * BATCH for step in milestones),
    )


PARTLY = Experts(
    count=4,
    active=2,
    gate_order="softmax_first",
    layers=(1,),
    dense_ffn_size=40,
    shared_ffn_size=24,
    aux_loss_coefficient=0.0,
)
"""Everything that Mixtral does not have, but for a normalised router."""
LAPTOP = TrainRun(micro_batch_sequences=4, checkpoint_interval_steps=10)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pretrain")


@pytest.fixture(scope="session")
def corpus(made: Path) -> Artifact[Corpus]:
    return make_corpus(made / "corpus", MadeConfig())


@pytest.fixture(scope="session")
def tokenizer(made: Path) -> Artifact[Tokenizer]:
    return make_tokenizer(made / "tokenizer", MadeConfig())


@pytest.fixture(scope="session")
def tokens(made: Path, corpus: Artifact[Corpus], tokenizer: Artifact[Tokenizer]) -> Artifact[Tokens]:
    return tokenize(made / "tokens", TokenizeConfig(), corpus, tokenizer)


DENSE = config(steps=60, milestones=(20,))


@pytest.fixture(scope="session")
def dense(made: Path, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer]) -> Artifact[Checkpoint]:
    """A dense model after sixty steps, with a milestone at twenty."""
    command = 'ls "$MILESTONE" > "$MILESTONE.listing"; exit 3'
    return train(made / "dense", DENSE, tokens, tokenizer, run=LAPTOP.model_copy(update={"milestone_command": command}))


@pytest.fixture(scope="session")
def mixture_start(made: Path, tokenizer: Artifact[Tokenizer]) -> Artifact[Checkpoint]:
    """A random mixture of four experts with a normalised router, for Hugging Face."""
    architecture = small(tokenizer.spec.vocab_size, NORMALIZED)
    return make_model(made / "mixture-start", ModelConfig(architecture=architecture), tokenizer)


MIXTURE = config(steps=6, model=None)


@pytest.fixture(scope="session")
def mixture(
    made: Path, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer], mixture_start: Artifact[Checkpoint]
) -> Artifact[Checkpoint]:
    """The random mixture after six steps."""
    return train(made / "mixture", MIXTURE, tokens, tokenizer, mixture_start, run=LAPTOP)


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """What tests share besides fixtures: with pytest's importlib mode they cannot import this file."""
    return SimpleNamespace(
        config=config,
        dense=DENSE,
        documents=documents,
        laptop=LAPTOP,
        make_model=make_model,
        mixture=MIXTURE,
        model_config=ModelConfig,
        normalized=NORMALIZED,
        partly=PARTLY,
        small=small,
        tokenizer=make_tokenizer,
        tokenizer_config=MadeConfig,
        write_random_model=write_random_model,
    )


@pytest.fixture(scope="session")
def probe(made: Path, tokenizer: Artifact[Tokenizer]) -> Path:
    """A folder in which Megatron has said what it makes of five models; see `probe.py`."""
    folder = made / "probe"
    vocabulary = tokenizer.spec.vocab_size
    population = RouterNormalization(scale=0.7, ddof=0)
    models = {
        "dense": small(vocabulary),
        "mixture": small(vocabulary, Experts(count=4, active=2)),
        "normalized": small(vocabulary, NORMALIZED),
        "population": small(vocabulary, Experts(count=4, active=2, normalization=population)),
        "partly": small(vocabulary, PARTLY),
    }
    for seed, (name, architecture) in enumerate(models.items()):
        (folder / name).mkdir(parents=True)
        write_random_model(folder / name, architecture, tokenizer.spec, seed=seed)
    np.save(folder / "ids.npy", np.random.default_rng(5).integers(0, vocabulary, (3, SEQUENCE)))
    described = json.dumps({name: architecture.model_dump() for name, architecture in models.items()})
    command = [sys.executable, str(Path(__file__).with_name("probe.py")), str(folder), described]
    environment = {**os.environ, "TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder
