"""Tiny models, a tiny tokenizer and tiny data, all made here."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import (
    Architecture,
    Artifact,
    Checkpoint,
    Config,
    Dialogues,
    Draft,
    Experts,
    Preferences,
    stage,
)
from hypothesis import settings
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM, set_seed

settings.register_profile("align", deadline=None)  # a busy machine is slow, and time says nothing here
settings.load_profile("align")

type Turn = tuple[str, str]
type Kind = Literal["llama", "mixtral"]

TEMPLATE = (
    "{{ bos_token }}"
    "{%- if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}{% set turns = messages[1:] %}"
    "{%- else %}{{ '以下は、タスクを説明する指示です。' }}{% set turns = messages %}{% endif %}"
    "{%- for message in turns %}"
    "{%- if message['role'] == 'user' %}{{ '\n\n### 指示:\n' + message['content'] }}"
    "{%- else %}{{ '\n\n### 応答:\n' }}{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}{% endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '\n\n### 応答:\n' }}{% endif %}"
)
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>"]
CHARACTERS = sorted(
    set("以下は、タスクを説明する指示です。応答:#\n 一二三四五いちにさんしごたすひと今日では何か言え0123456789")
)
ARCHITECTURE = Architecture(
    layers=2, hidden_size=32, ffn_size=48, heads=4, kv_heads=2, vocab_size=384, max_positions=128
)


def write_tokenizer(
    folder: Path,
    *,
    template: str | None = TEMPLATE,
    merges: Sequence[tuple[str, str]] = (),
    blank: bool = False,
) -> None:
    """Characters and bytes, and a pair that merges a line break with what follows it."""
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *CHARACTERS, *(a + b for a, b in merges)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=list(merges), unk_token="<unk>", byte_fallback=True, fuse_unk=False)
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    if blank:
        tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.add_special_tokens(SPECIAL)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "model_max_length": 128,
    }
    if template:
        settings["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")


class ModelConfig(Config):
    model: Kind = "llama"
    seed: int = 0
    shard: str = "5GB"


@stage("test.model")
def make_model(draft: Draft, config: ModelConfig) -> Checkpoint:
    set_seed(config.seed)
    sizes: dict[str, Any] = {
        "hidden_size": ARCHITECTURE.hidden_size,
        "intermediate_size": ARCHITECTURE.ffn_size,
        "num_hidden_layers": ARCHITECTURE.layers,
        "num_attention_heads": ARCHITECTURE.heads,
        "num_key_value_heads": ARCHITECTURE.kv_heads,
        "vocab_size": ARCHITECTURE.vocab_size,
        "max_position_embeddings": ARCHITECTURE.max_positions,
        "initializer_range": 0.2,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
    }
    if config.model == "mixtral":
        experts = {"num_local_experts": 4, "num_experts_per_tok": 2, "router_aux_loss_coef": 0.02}
        model = MixtralForCausalLM(MixtralConfig(**sizes, **experts))
        architecture = ARCHITECTURE.model_copy(
            update={"experts": Experts(count=4, active=2, aux_loss_coefficient=0.02)}
        )
    else:
        model, architecture = LlamaForCausalLM(LlamaConfig(**sizes)), ARCHITECTURE
    model.save_pretrained(draft.dir, max_shard_size=config.shard)
    write_tokenizer(draft.dir)
    return Checkpoint(architecture=architecture, format="hf", step=7, tokens_seen=70, tokenizer="a" * 64)


class RowsConfig(Config):
    rows: tuple[dict[str, Any], ...]


@stage("test.dialogues")
def make_dialogues(draft: Draft, config: RowsConfig) -> Dialogues:
    pq.write_table(pa.Table.from_pylist(list(config.rows)), draft.dir / "part-00000.parquet")
    return Dialogues(licences=("CC0-1.0",))


@stage("test.preferences")
def make_preferences(draft: Draft, config: RowsConfig) -> Preferences:
    pq.write_table(pa.Table.from_pylist(list(config.rows)), draft.dir / "part-00000.parquet")
    return Preferences()


@dataclass
class Makers:
    """What tests make their inputs with."""

    root: Path
    count: int = 0

    def model(self, model: Kind = "llama", seed: int = 0, shard: str = "5GB") -> Artifact[Checkpoint]:
        config = ModelConfig(model=model, seed=seed, shard=shard)
        return make_model(self.root / f"{model}-{seed}-{shard}", config)

    def dialogues(self, rows: dict[str, Sequence[Turn]]) -> Artifact[Dialogues]:
        data = tuple({"id": id, "messages": _turns(turns)} for id, turns in rows.items())
        return make_dialogues(self._next(), RowsConfig(rows=data))

    def preferences(self, rows: dict[str, tuple[Sequence[Turn], str, str]]) -> Artifact[Preferences]:
        data = tuple(
            {"id": id, "prompt": _turns(prompt), "chosen": chosen, "rejected": rejected}
            for id, (prompt, chosen, rejected) in rows.items()
        )
        return make_preferences(self._next(), RowsConfig(rows=data))

    def _next(self) -> Path:
        self.count += 1
        return self.root / f"data-{self.count}"


def _turns(turns: Sequence[Turn]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Makers:
    return Makers(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session")
def numerals() -> dict[str, Sequence[Turn]]:
    """A task that can be learnt: name the numeral."""
    names = {"一": "いち", "二": "に", "三": "さん", "四": "し", "五": "ご"}
    return {
        f"{numeral}{index}": (("user", f"{numeral}は何ですか{index % 10}"), ("assistant", name))
        for index in range(24)
        for numeral, name in names.items()
    }


@pytest.fixture
def tokenizer(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tokenizer with what it is asked for, and says where."""

    def write(**settings: Any) -> Path:
        write_tokenizer(tmp_path / "tokenizer", **settings)
        return tmp_path / "tokenizer"

    return write
