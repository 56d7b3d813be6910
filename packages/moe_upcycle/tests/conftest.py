"""A tiny dense Llama as an artifact, made without transformers, and what upcycling makes of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from bunbuku_contracts import Architecture, Artifact, Checkpoint, Config, Corpus, Draft, Experts, stage
from bunbuku_moe_upcycle.layout import Output
from bunbuku_moe_upcycle.tensors import encode, write_tensors
from hypothesis import settings
from pydantic import Field
from safetensors.numpy import save_file

settings.register_profile("moe_upcycle", deadline=None)  # a busy machine is slow, and time says nothing here
settings.load_profile("moe_upcycle")

TOKENIZER = "7" * 64
FFN, HEADS, KV_HEADS, VOCABULARY = 24, 4, 2, 32
LETTERS = "あいうえおかきく分福茶釜狸寺山川0123abcd{};="
"""Ids 4 to 31: eight kana, eight kanji, four digits, four Latin letters, four signs of code."""


def tokenizer_files() -> dict[str, Any]:
    """A tokenizer that transformers opens, with an id a letter."""
    names = ["<unk>", "<s>", "</s>", "<pad>", *LETTERS]
    split = {"type": "Split", "pattern": {"Regex": ""}, "behavior": "Isolated", "invert": False}
    model = {"type": "WordLevel", "vocab": {name: at for at, name in enumerate(names)}, "unk_token": "<unk>"}
    parts = dict.fromkeys(("truncation", "padding", "normalizer", "post_processor", "decoder"))
    fast = {"version": "1.0", **parts, "added_tokens": [], "pre_tokenizer": split, "model": model}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "eos_token": "</s>"}
    return {"tokenizer.json": fast, "tokenizer_config.json": config}


class DenseConfig(Config):
    """A Llama whose weights are large for its size, so that every part of it moves the logits."""

    layers: int = 3
    ffn: int = FFN
    head_size: int = 4
    deviation: float = 0.1
    seed: int = 0
    dtype: Literal["float32", "bfloat16"] = "float32"
    step: int = 7
    tokenizer: str = TOKENIZER
    files: int = 1
    format: Literal["hf", "megatron", "peft"] = "hf"
    tied: bool = False
    experts: Experts | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    """Fields of `config.json` to set otherwise."""
    without: tuple[str, ...] = ()
    """Tensors to leave out."""
    extra: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    """Tensors that do not belong there, with their shapes."""

    index: dict[str, str] = Field(default_factory=dict)
    """Tensor to file, as an index over several files would have it."""

    @property
    def hidden(self) -> int:
        return HEADS * self.head_size

    def shapes(self) -> dict[str, tuple[int, ...]]:
        hidden, kv = self.hidden, KV_HEADS * self.head_size
        shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, hidden)}
        for layer in range(self.layers):
            at = f"model.layers.{layer}"
            shapes |= {
                f"{at}.self_attn.q_proj.weight": (hidden, hidden),
                f"{at}.self_attn.k_proj.weight": (kv, hidden),
                f"{at}.self_attn.v_proj.weight": (kv, hidden),
                f"{at}.self_attn.o_proj.weight": (hidden, hidden),
                f"{at}.mlp.gate_proj.weight": (self.ffn, hidden),
                f"{at}.mlp.up_proj.weight": (self.ffn, hidden),
                f"{at}.mlp.down_proj.weight": (hidden, self.ffn),
                f"{at}.input_layernorm.weight": (hidden,),
                f"{at}.post_attention_layernorm.weight": (hidden,),
            }
        shapes["model.norm.weight"] = (hidden,)
        if not self.tied:
            shapes["lm_head.weight"] = (VOCABULARY, hidden)
        return {name: shape for name, shape in shapes.items() if name not in self.without} | self.extra


@stage("test.dense")
def make_dense(draft: Draft, config: DenseConfig) -> Checkpoint:
    """A dense checkpoint in Hugging Face layout with random weights."""
    random = np.random.default_rng(config.seed)
    tensors = {
        name: (random.standard_normal(shape) * config.deviation + (1.0 if len(shape) == 1 else 0.0)).astype(np.float32)
        for name, shape in config.shapes().items()
    }
    names = list(tensors)
    for number in range(config.files):
        part = {name: tensors[name] for name in names[number :: config.files]}
        name = "model.safetensors" if config.files == 1 else f"model-{number + 1:05d}-of-{config.files:05d}.safetensors"
        if config.dtype == "bfloat16":
            plans = [Output(name, "BF16", tensor.shape) for name, tensor in part.items()]
            write_tensors(draft.dir / name, plans, (encode(part[plan.name], "BF16") for plan in plans))
        else:
            save_file(part, draft.dir / name, metadata={"format": "pt"})
    if config.index:
        (draft.dir / "model.safetensors.index.json").write_text(json.dumps({"weight_map": config.index}))
    settings = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": config.hidden,
        "intermediate_size": config.ffn,
        "num_hidden_layers": config.layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5,
        "rope_theta": 5000.0,
        "tie_word_embeddings": config.tied,
        "dtype": config.dtype,
    }
    (draft.dir / "config.json").write_text(json.dumps(settings | config.config))
    for name, content in tokenizer_files().items():
        (draft.dir / name).write_text(json.dumps(content))
    (draft.dir / "README.md").write_text("the dense model's own page")
    architecture = Architecture(
        layers=config.layers,
        hidden_size=config.hidden,
        ffn_size=config.ffn,
        heads=HEADS,
        kv_heads=KV_HEADS,
        vocab_size=VOCABULARY,
        max_positions=64,
        rope_theta=5000.0,
        tied_embeddings=config.tied,
        experts=config.experts,
    )
    return Checkpoint(
        architecture=architecture,
        format=config.format,
        step=config.step,
        tokens_seen=100 * config.step,
        tokenizer=config.tokenizer,
        licences=("CC0-1.0",),
    )


@pytest.fixture
def dense(tmp_path: Path) -> Callable[..., Artifact[Checkpoint]]:
    """Make a dense checkpoint; keyword arguments are fields of `DenseConfig`."""

    def make(name: str = "dense", **fields: Any) -> Artifact[Checkpoint]:
        return make_dense(tmp_path / name, DenseConfig(**fields))

    return make


class TextConfig(Config):
    """Documents with their sources."""

    documents: tuple[tuple[str, str], ...]


@stage("test.corpus")
def make_corpus(draft: Draft, config: TextConfig) -> Corpus:
    """A corpus of given texts."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = [
        {"id": f"test:{n}", "text": text, "source": source, "url": None, "licence": "CC0-1.0", "language": "ja"}
        for n, (source, text) in enumerate(config.documents)
    ]
    parquet.write_table(pa.Table.from_pylist(rows), draft.dir / "part-00000.parquet")
    return Corpus()


@pytest.fixture
def corpus(tmp_path: Path) -> Callable[..., Artifact[Corpus]]:
    """Make a corpus of texts, each with its source."""

    def make(name: str, *documents: tuple[str, str]) -> Artifact[Corpus]:
        return make_corpus(tmp_path / name, TextConfig(documents=documents))

    return make
