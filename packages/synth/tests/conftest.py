"""Small corpora made of this package's own sentences, published through contracts like any other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Architecture, Artifact, Checkpoint, Config, Corpus, Draft, stage
from bunbuku_synth import GenerateConfig, generate, read_items
from bunbuku_synth.item import Item
from hypothesis import settings

# A busy machine is no failure of what is tested.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

COLUMNS = ("id", "text", "source", "url", "licence", "language")
Row = dict[str, Any]


class Rows(Config):
    rows: tuple[Row, ...]
    part: str = "data"
    shards: int = 1


@stage("test.corpus")
def write_corpus(draft: Draft, config: Rows) -> Corpus:
    """Publish rows as they are, over a number of shards."""
    for shard in range(config.shards):
        rows = config.rows[shard :: config.shards]
        path = draft.dir / f"part-{shard:05d}.parquet"
        pq.write_table(pa.Table.from_pylist(list(rows), pa.schema([(name, pa.string()) for name in COLUMNS])), path)
        draft.count(path, rows=len(rows), part=config.part)
    return Corpus(licences=("CC0-1.0",))


def row(id: str, text: str, language: str = "ja") -> Row:
    return {"id": id, "text": text, "source": "test", "url": None, "licence": "CC0-1.0", "language": language}


# A grammar of sentences: someone does something with a thing at a place. Every word has one translation.
_WHO = {
    "先生": "The teacher",
    "医者": "The doctor",
    "子供": "The child",
    "父": "My father",
    "トム": "Tom",
    "犬": "The dog",
}
_THING = {
    "手紙": "a letter",
    "新聞": "a newspaper",
    "写真": "a photograph",
    "自転車": "a bicycle",
    "カメラ": "a camera",
    "ピアノ": "a piano",
    "机": "a desk",
    "傘": "an umbrella",
}
_PLACE = {"駅": "the station", "学校": "the school", "図書館": "the library", "ホテル": "the hotel", "公園": "the park"}
_DID = {
    "見つけた": "found",
    "売った": "sold",
    "忘れた": "forgot",
    "借りた": "borrowed",
    "隠した": "hid",
    "洗った": "washed",
}


@cache
def pairs() -> list[tuple[str, str]]:
    """1,440 sentences in Japanese and English, in a mixed order."""
    made = [
        (f"{who}は{place}で{thing}を{did}。", f"{_WHO[who]} {_DID[did]} {_THING[thing]} at {_PLACE[place]}.")
        for who in _WHO
        for place in _PLACE
        for thing in _THING
        for did in _DID
    ]
    return [made[index * 241 % len(made)] for index in range(len(made))]


@dataclass(frozen=True)
class Toy:
    """A toy corpus and its pairs, and a way to publish any rows."""

    dir: Path
    block: int = 5

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return pairs()

    @property
    def meanings(self) -> dict[str, str]:
        """English of every noun."""
        return _WHO | _THING | _PLACE

    def documents(self, first: int = 0, last: int = 288) -> tuple[Row, ...]:
        """Blocks of five Japanese sentences."""
        sentences = [ja for ja, _ in pairs()]
        blocks = {n: sentences[n * self.block : (n + 1) * self.block] for n in range(first, last)}
        return tuple(row(f"toy:{n}", "\n".join(block)) for n, block in blocks.items())

    def parallel(self) -> tuple[Row, ...]:
        """Every pair, under its block's id."""
        return tuple(row(f"toy:{n // self.block}/{n}", f"{ja}\n{en}", "ja-en") for n, (ja, en) in enumerate(pairs()))

    def corpus(self, name: str, rows: Sequence[Row], *, shards: int = 1) -> Artifact[Corpus]:
        """Publish rows as a corpus."""
        return write_corpus(self.dir / name, Rows(rows=tuple(rows), shards=shards))

    def english(self, *texts: str) -> Artifact[Corpus]:
        """Publish English documents."""
        return self.corpus("english", [row(f"en:{n}", text, "en") for n, text in enumerate(texts)])


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


@pytest.fixture
def corpus(toy: Toy) -> Artifact[Corpus]:
    """Blocks 0 to 149 of the 288 there are."""
    return toy.corpus("corpus", toy.documents(0, 150))


@pytest.fixture
def pairs_of_all_blocks(toy: Toy) -> Artifact[Corpus]:
    return toy.corpus("parallel", toy.parallel())


@pytest.fixture
def make(tmp_path: Path, corpus: Artifact[Corpus], pairs_of_all_blocks: Artifact[Corpus]) -> Callable[..., list[Item]]:
    """Generate items of some tasks from the toy corpus."""
    made: list[Path] = []

    def items(tasks: Sequence[Any], **settings: Any) -> list[Item]:
        made.append(tmp_path / f"made-{len(made)}")
        config = GenerateConfig(tasks=tuple(tasks), **settings)
        return list(read_items(generate(made[-1], config, corpus, pairs_of_all_blocks)))

    return items


CHAT_TEMPLATE = (
    "{% for m in messages %}### {{ m.role }}:\n{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}### assistant:\n{% endif %}"
)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder with a tiny Llama of random weights, and a tokenizer of bytes."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("llama")
    write_llama(folder, hidden_size=16)
    return folder


@pytest.fixture(scope="session")
def wide_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with two heads of 32, as vLLM on a CPU wants them."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("wide")
    write_llama(folder, hidden_size=64)
    return folder


def write_llama(folder: Path, *, hidden_size: int) -> None:
    """A tiny Llama and its tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<unk>", "<s>", "</s>", "<pad>"]
    letters = special + sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: id for id, letter in enumerate(letters)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(letters),
        hidden_size=hidden_size,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        LlamaForCausalLM(config).save_pretrained(folder)


class Folder(Config):
    path: str


@stage("test.checkpoint")
def publish_checkpoint(draft: Draft, config: Folder) -> Checkpoint:
    """Publish a Hugging Face folder as a checkpoint."""
    for path in Path(config.path).iterdir():
        (draft.dir / path.name).write_bytes(path.read_bytes())
    architecture = Architecture(
        layers=1, hidden_size=16, ffn_size=32, heads=2, kv_heads=1, vocab_size=260, max_positions=2048
    )
    return Checkpoint(architecture=architecture, format="hf", step=0, tokens_seen=0, tokenizer="0" * 64, chat=True)


@pytest.fixture
def checkpoint(tmp_path: Path, llama: Path) -> Artifact[Checkpoint]:
    """The tiny Llama, published."""
    return publish_checkpoint(tmp_path / "checkpoint", Folder(path=str(llama)))
