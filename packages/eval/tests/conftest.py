"""A minuscule pipeline: a corpus, a character tokenizer, tokens, random models and questions, each a real artifact."""

import json
import os
import struct
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import (
    Architecture,
    Artifact,
    Checkpoint,
    Config,
    Corpus,
    Curve,
    Dialogues,
    Draft,
    Experts,
    Picture,
    Report,
    Section,
    Table,
    Tokenizer,
    Tokens,
    stage,
    write_sections,
)
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A machine that does other things as well may take its time.
settings.register_profile("eval", deadline=None)
settings.load_profile("eval")

ANIMALS, THINGS = "猫犬鳥馬魚", "水米空花本"
SENTENCES = [
    f"{animal}は{thing}が{feeling}。"
    for animal in ANIMALS
    for thing in THINGS
    for feeling in ("好き", "嫌い", "大好き")
]
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>"]
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role == 'user' %}問:{{ message.content }}{% endif %}"
    "{% if message.role == 'assistant' %}答:{{ message.content }}</s>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}答:{% endif %}"
)


class Nothing(Config):
    """No settings."""


class ModelConfig(Config):
    seed: int = 0
    tokens_seen: int = 0
    experts: int = 0
    format: Literal["hf", "megatron", "peft"] = "hf"
    chat: bool = False


class GatherConfig(Config):
    documents: int = 60


@stage("corpus.gather")
def gather(draft: Draft, config: GatherConfig) -> Corpus:
    """Three sentences a document; two sources."""
    rows = [
        {
            "id": f"document:{n}",
            "text": "".join(SENTENCES[(n * 7 + k * 11) % len(SENTENCES)] for k in range(3)),
            "source": "tales" if n % 3 else "letters",
            "url": None,
            "licence": "CC0-1.0",
            "language": "ja",
        }
        for n in range(config.documents)
    ]
    for part, chosen in (("train", rows[: len(rows) // 2]), ("validation", rows[len(rows) // 2 :])):
        path = draft.dir / part / "part-00000.parquet"
        path.parent.mkdir()
        pq.write_table(pa.Table.from_pylist(chosen), path)
        draft.count(path, rows=len(chosen), part=part)
    return Corpus(licences=("CC0-1.0",))


@stage("tokenizer.train")
def train_tokenizer(draft: Draft, config: Nothing, corpus: Artifact[Corpus]) -> Tokenizer:
    """One id a character."""
    from tokenizers import Tokenizer as Fast
    from tokenizers import decoders, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    letters = sorted({letter for sentence in SENTENCES for letter in sentence} | set("問答:はいえ"))
    fast = Fast(WordLevel({token: index for index, token in enumerate([*SPECIAL, *letters])}, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast.decoder = decoders.Fuse()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=fast, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    wrapped.chat_template = TEMPLATE
    wrapped.save_pretrained(draft.dir)
    return Tokenizer(vocab_size=len(SPECIAL) + len(letters))


@stage("pretrain.tokenize")
def tokenize(draft: Draft, config: Nothing, corpus: Artifact[Corpus], tokenizer: Artifact[Tokenizer]) -> Tokens:
    """The train part as Megatron keeps it."""
    documents = [[*ids(tokenizer, text), 2] for text in texts(corpus, "train")]
    write_indexed(draft.dir / "train", documents)
    for suffix in (".bin", ".idx"):
        path = draft.dir / f"train{suffix}"
        draft.count(path, rows=len(documents), tokens=sum(map(len, documents)), part="train")
    return Tokens(tokenizer=tokenizer.content, vocab_size=tokenizer.spec.vocab_size, eod_id=2, dtype="uint16")


@stage("pretrain.export", bitwise=True)
def train_model(draft: Draft, config: ModelConfig, tokenizer: Artifact[Tokenizer]) -> Checkpoint:
    """A random model of two thousand weights, with a log of how it was not trained."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(config.seed)
    size = tokenizer.spec.vocab_size
    shape = Architecture(
        layers=1, hidden_size=16, ffn_size=32, heads=2, kv_heads=1, vocab_size=size, max_positions=128,
        experts=Experts(count=config.experts, active=1) if config.experts else None,
    )  # fmt: skip
    hf = LlamaConfig(
        vocab_size=size, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=3,
        tie_word_embeddings=False, initializer_range=0.5,
    )  # fmt: skip
    LlamaForCausalLM(hf).save_pretrained(draft.dir)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"):
        if (tokenizer.dir / name).exists():
            (draft.dir / name).write_bytes((tokenizer.dir / name).read_bytes())
    loss = [(step, 4.0 / step + config.seed) for step in range(1, 21)]
    write_events(draft.log, {"loss": loss, "layers/gradient_norm/01": loss})
    return Checkpoint(
        architecture=shape, format=config.format, step=20, tokens_seen=config.tokens_seen,
        tokenizer=tokenizer.content, chat=config.chat,
    )  # fmt: skip


@stage("pretrain.export")
def name_model(draft: Draft, config: Nothing) -> Checkpoint:
    """A model without weights: a server answers in its place."""
    (draft.dir / "config.json").write_text("{}")
    shape = Architecture(layers=1, hidden_size=8, ffn_size=8, heads=1, kv_heads=1, vocab_size=8)
    return Checkpoint(architecture=shape, format="hf", step=0, tokens_seen=0, tokenizer="0" * 64)


@stage("moe_upcycle.upcycle")
def upcycle(draft: Draft, config: Nothing, checkpoint: Artifact[Checkpoint]) -> Checkpoint:
    """The same weights under the name of a mixture, and so the same numbers."""
    for file in checkpoint.files():
        (draft.dir / file.path).write_bytes(checkpoint.path(file).read_bytes())
    shape = checkpoint.spec.architecture.model_copy(update={"experts": Experts(count=4, active=2)})
    return checkpoint.spec.model_copy(update={"architecture": shape})


@stage("moe_upcycle.similarity")
def compare(draft: Draft, config: Nothing, checkpoint: Artifact[Checkpoint]) -> Report:
    """A report of a stage that this package does not know: with a picture, a curve and a hostile name."""
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40"><rect width="40" height="40" fill="#2f6f8f"/></svg>'
    (draft.dir / "heat.svg").write_text(svg)
    table = Table(columns=("expert", "similarity"), rows=(("<script>alert(1)</script>", 0.987654), ("専門家", None)))
    curve = Curve(name="layer 0", x_label="expert", y_label="cosine", points=((0, 1.0), (1, 0.5), (2, 0.25)))
    section = Section(
        title="Expert similarity",
        paragraphs=("隣り合う専門家の類似度。",),
        tables=(table,),
        pictures=(Picture(path="heat.svg", caption="cosine of the experts"),),
        curves=(curve,),
    )
    write_sections(draft, [section])
    return Report(title="Expert similarity")


@stage("synth.generate")
def ask(draft: Draft, config: Nothing, corpus: Artifact[Corpus]) -> Dialogues:
    """Which animal a sentence is about: with choices; and one dialogue without any."""
    rows = [
        {
            "id": f"item:{n}",
            "messages": [
                {"role": "user", "content": f"{sentence}問:"},
                {"role": "assistant", "content": sentence[0]},
            ],
            "task": "animal" if n % 2 else "thing",
            "template": "plain@1",
            "choices": list(ANIMALS[:4]) if sentence[0] in ANIMALS[:4] else None,
            "answer": ANIMALS.index(sentence[0]) if sentence[0] in ANIMALS[:4] else None,
        }
        for n, sentence in enumerate(SENTENCES)
    ]
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
            ("task", pa.string()),
            ("template", pa.string()),
            ("choices", pa.list_(pa.string())),
            ("answer", pa.int32()),
        ]
    )
    path = draft.dir / "part-00000.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    draft.count(path, rows=len(rows))
    return Dialogues()


def texts(corpus: Artifact[Corpus], part: str) -> list[str]:
    return [text for file in corpus.files(part) for text in pq.read_table(corpus.path(file))["text"].to_pylist()]


def ids(tokenizer: Artifact[Tokenizer], text: str) -> list[int]:
    vocabulary = json.loads((tokenizer.dir / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    return [vocabulary.get(letter, 0) for letter in text]


def write_indexed(prefix: Path, documents: list[list[int]]) -> None:
    """Megatron's format by the letter, one sequence a document."""
    lengths = np.array([len(document) for document in documents], dtype="<i4")
    offsets = (np.cumsum(lengths, dtype=np.int64) - lengths) * 2
    head = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 8, len(documents), len(documents) + 1)
    ends = np.arange(len(documents) + 1, dtype="<i8")
    prefix.with_suffix(".idx").write_bytes(head + lengths.tobytes() + offsets.astype("<i8").tobytes() + ends.tobytes())
    prefix.with_suffix(".bin").write_bytes(np.concatenate(documents).astype("<u2").tobytes())


def write_events(folder: Path, scalars: dict[str, list[tuple[int, float]]]) -> None:
    """TensorBoard events as a training loop leaves them."""
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
    from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    for tag, points in scalars.items():
        for step, value in points:
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.add_event(Event(step=step, wall_time=0.0, summary=summary))
    writer.close()


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A fresh place for an artifact at each call."""
    folder, numbers = tmp_path_factory.mktemp("artifacts"), count()
    return lambda name: folder / f"{name}-{next(numbers)}"


@pytest.fixture(scope="session")
def make(place):
    """What tests need of this module, which none can import: the stages, and ids and texts as they are."""

    def model(tokenizer: Artifact[Tokenizer], **config: object) -> Artifact[Checkpoint]:
        return train_model(place("model"), ModelConfig.model_validate(config), tokenizer)

    def mixture(checkpoint: Artifact[Checkpoint]) -> Artifact[Checkpoint]:
        return upcycle(place("upcycled"), Nothing(), checkpoint)

    def similarity(checkpoint: Artifact[Checkpoint]) -> Artifact[Report]:
        return compare(place("similarity"), Nothing(), checkpoint)

    return SimpleNamespace(
        model=model, mixture=mixture, similarity=similarity, ids=ids, texts=texts, write_events=write_events
    )


@pytest.fixture(scope="session")
def corpus(place) -> Artifact[Corpus]:
    return gather(place("split"), GatherConfig())


@pytest.fixture(scope="session")
def held_out(corpus) -> Artifact[Corpus]:
    from bunbuku_contracts import load

    return load(corpus.dir, Corpus, part="validation")


@pytest.fixture(scope="session")
def tokenizer(place, corpus) -> Artifact[Tokenizer]:
    pytest.importorskip("transformers")
    return train_tokenizer(place("tokenizer"), Nothing(), corpus)


@pytest.fixture(scope="session")
def tokens(place, corpus, tokenizer) -> Artifact[Tokens]:
    return tokenize(place("tokens"), Nothing(), corpus, tokenizer)


@pytest.fixture(scope="session")
def models(place, tokenizer) -> dict[str, Artifact[Checkpoint]]:
    return {
        "first": train_model(place("first"), ModelConfig(seed=1, tokens_seen=100), tokenizer),
        "second": train_model(place("second"), ModelConfig(seed=2, tokens_seen=200, experts=4), tokenizer),
    }


@pytest.fixture(scope="session")
def named(place) -> dict[str, Artifact[Checkpoint]]:
    """One model, `m`, that only a server can answer for."""
    return {"m": name_model(place("named"), Nothing())}


@pytest.fixture(scope="session")
def items(place, corpus) -> Artifact[Dialogues]:
    return ask(place("items"), Nothing(), corpus)


def sibling(name: str):
    """A module beside this one; tests are no package."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def arenas():
    """The module that starts arenas."""
    return sibling("arena_server")


@pytest.fixture
def open_arena(arenas, place, tmp_path):
    """Opens an arena of stored answers, with a config of one's own."""
    opened = []

    def start(**config: object):
        served = arenas.Served(tmp_path, arenas.stored(place("answers"), arenas.Nothing()), **config)
        opened.append(served)
        served.start()
        return served

    yield start
    for served in opened:
        served.stop()


@pytest.fixture(scope="module")
def arena(arenas, place, tmp_path_factory):
    """An arena of stored answers for all tests of a file that leave it running."""
    served = arenas.Served(tmp_path_factory.mktemp("arena"), arenas.stored(place("answers"), arenas.Nothing()))
    served.start()
    yield served
    served.stop()


@pytest.fixture(scope="module")
def talk():
    """A model that answers by a function of prompt and seed, behind a server of its own: the run settings to ask it."""
    from bunbuku_eval import EvalRun
    from bunbuku_inference import OpenAIEngine

    module = sibling("server")
    servers = []

    def start(says, *, pause_seconds: float = 0.0, **settings) -> EvalRun:
        server = module.Talker(says)
        server.pause_seconds = pause_seconds
        servers.append(server)
        chosen = {"attempts": 1, "first_wait_seconds": 0.0} | settings
        return EvalRun(engine=OpenAIEngine(base_url=server.url, served_model="talker", **chosen))

    yield start
    for server in servers:
        server.__exit__(None, None, None)
