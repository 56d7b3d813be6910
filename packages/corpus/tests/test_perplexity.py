"""Perplexity: the bits of a byte are those that transformers' own loss gives."""

import json
from math import log
from pathlib import Path

import pytest
from bunbuku_contracts import Architecture, Artifact, Checkpoint, Config, Draft, stage
from bunbuku_corpus import GatherConfig, PerplexityConfig, gather, perplexity
from bunbuku_corpus.batches import read_batches

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXTS = ["雨が降って地が固まる。", "猫猫猫猫猫猫", "", "雪。"]


class NoConfig(Config):
    """Nothing to choose."""


@stage("test.model")
def make_model(draft: Draft, config: NoConfig) -> Checkpoint:
    """A random model of single characters."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    names = ["<unk>", "<s>", "</s>", "<pad>", *sorted({letter for text in TEXTS for letter in text})]
    letters = Tokenizer(WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    letters.pre_tokenizer = Split("", "isolated")
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    PreTrainedTokenizerFast(tokenizer_object=letters, **special).save_pretrained(draft.dir)
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=len(names), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, initializer_range=0.5,
    )  # fmt: skip
    LlamaForCausalLM(shape).save_pretrained(draft.dir)
    architecture = Architecture(
        layers=1, hidden_size=16, ffn_size=32, heads=2, kv_heads=1, vocab_size=len(names), max_positions=64
    )
    return Checkpoint(architecture=architecture, format="hf", step=0, tokens_seen=0, tokenizer="0" * 64)


def expected(checkpoint: Artifact[Checkpoint], text: str) -> float:
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint.dir)
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint.dir)
    ids = torch.tensor([[1, *tokenizer(text, add_special_tokens=False)["input_ids"]]])
    loss = float(model(ids, labels=ids).loss.detach())
    return loss * (ids.shape[1] - 1) / log(2) / len(text.encode())


def test_bits_per_byte_are_those_of_the_model(tmp_path: Path):
    rows = [{"id": f"d{n}", "text": text, "licence": "MIT", "language": "ja"} for n, text in enumerate(TEXTS)]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    corpus = gather(tmp_path / "raw", GatherConfig(), tmp_path / "texts.jsonl")
    checkpoint = make_model(tmp_path / "model", NoConfig())
    scored = perplexity(tmp_path / "scored", PerplexityConfig(), corpus, checkpoint)
    found = {row["id"]: row["bits_per_byte"] for batch in read_batches(scored) for row in batch.to_pylist()}
    assert found["d2"] is None
    for n in (0, 1, 3):
        assert found[f"d{n}"] == pytest.approx(expected(checkpoint, TEXTS[n]), rel=1e-4)
    assert scored.manifest.metrics["bits_per_byte.q01"] <= scored.manifest.metrics["bits_per_byte.q99"]
