"""A tiny random Llama with a tiny tokenizer, made on the spot: real files of the real format, in a second."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("inference", deadline=None)  # a busy machine is slow, and time says nothing here
settings.load_profile("inference")

TEXT = [
    "昔々、あるところに、おじいさんとおばあさんがいました。",
    "おじいさんは山へ芝刈りに、おばあさんは川へ洗濯に行きました。",
    "茂林寺の和尚さんは、狸が化けた茶釜を買いました。",
    "茶釜は火にかけられると、熱がって狸の姿に戻りました。",
    "The kettle danced on a rope, and everybody laughed.",
]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '\n\n### ' + m.role + ':\n' + m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\n\n### assistant:\n' }}{% endif %}"
)
CONTEXT = 96


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder that `AutoModelForCausalLM` and `AutoTokenizer` open."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("checkpoint")
    write_tokenizer(folder)
    write_llama(folder)
    return folder


def write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=["<unk>", "<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)


def write_llama(folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=384,
        hidden_size=64,  # vLLM on a CPU wants heads of 32
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=CONTEXT,
        # Wide enough that the likeliest token leads by far more than rounding.
        initializer_range=0.2,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = LlamaForCausalLM(config)
    # Defaults of a checkpoint that must not change what was asked.
    model.generation_config.repetition_penalty = 5.0
    model.save_pretrained(folder)
