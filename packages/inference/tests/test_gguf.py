"""A GGUF file is opened as the Hugging Face folder it was made from."""

import json
from pathlib import Path
from typing import Any

import pytest
from bunbuku_inference import EngineError, Message, Request, Sampling, ScoreRequest, TransformersEngine, open_model

gguf = pytest.importorskip("gguf")
transformers = pytest.importorskip("transformers")

ENGINE = TransformersEngine(threads=1, device="cpu")
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""Module names of Llama in transformers, and in GGUF."""


@pytest.fixture(scope="module")
def file(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint in float32, written with the gguf package."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    _write_tokenizer(writer, checkpoint)
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    for name, weight in model.state_dict().items():
        module, _, kind = name.rpartition(".")
        block, number = "", ""
        if module.startswith("model.layers."):
            _, _, number, module = module.split(".", 3)
            block = f"blk.{number}."
        values = weight.numpy()
        if count := heads.get(NAMES[module]):
            # llama.cpp keeps the two halves of a rotated pair side by side.
            halves = values.reshape(count, 2, values.shape[0] // count // 2, values.shape[1])
            values = halves.swapaxes(1, 2).reshape(values.shape)
        writer.add_tensor(f"{block}{NAMES[module]}.{kind}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_tokenizer(writer: Any, checkpoint: Path) -> None:
    made = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    tokens = sorted(made["vocab"], key=made["vocab"].get)
    normal, control = int(gguf.TokenType.NORMAL), int(gguf.TokenType.CONTROL)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([control if at < 4 else normal for at in range(len(tokens))])
    writer.add_token_merges([" ".join(pair) for pair in made["merges"]])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(3)
    writer.add_chat_template((checkpoint / "chat_template.jinja").read_text(encoding="utf-8"))


def test_a_gguf_file_answers_as_the_folder_does(file: Path, checkpoint: Path) -> None:
    chat = (Message(role="user", content="狸とは？"),)
    asked = [Request(prompt=chat, sampling=Sampling(max_tokens=6))]
    # This importer's tokenizer puts no begin-of-sequence token before a raw text; the chat template writes its own.
    scores = [ScoreRequest(prompt=chat, completion=text) for text in ("動物です", "昔々、あるところに" * 20)]
    with open_model(ENGINE, file) as model, open_model(ENGINE, checkpoint) as reference:
        assert model.generate(asked) == reference.generate(asked)
        found, expected = model.score(scores), reference.score(scores)
        assert [score.tokens for score in found] == [score.tokens for score in expected]
        assert [score.logprob for score in found] == pytest.approx([score.logprob for score in expected], abs=1e-3)
        assert (model.name, model.digest == reference.digest) == ("tiny.gguf", False)


def test_a_file_that_is_not_gguf_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tea.gguf"
    path.write_bytes(b"not a model")
    with pytest.raises(EngineError, match=r"tea\.gguf' does not open"):
        open_model(ENGINE, path)
