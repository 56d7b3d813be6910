"""vLLM with the plugin against transformers, on the same weights. Runs in the vLLM environment (`just vllm`)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bunbuku_contracts import Artifact, Checkpoint, register_hf_models
from bunbuku_moe_upcycle import Granular, Noise, NormalRouter, UpcycleConfig, upcycle

pytestmark = pytest.mark.vllm

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PROMPTS = [np.random.default_rng(seed).integers(4, 32, 3 + seed % 23).tolist() for seed in range(50)]
TOKENS = 12
MIXTURES = {
    "normalised": UpcycleConfig(strategy=Noise(scale=0.7)),
    "plain": UpcycleConfig(strategy=Noise(scale=0.7), normalization="none", router=NormalRouter(std=0.5)),
    "partly": UpcycleConfig(strategy=Noise(scale=0.7), layers=(0, 2), shared=True, gate_order="softmax_first"),
    "granular": UpcycleConfig(experts=16, active=4, strategy=Granular(change=Noise(scale=0.7))),
}


@pytest.fixture(autouse=True)
def circumstances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    # Left to itself, vLLM binds a thread to every core; each step then waits for cores that others may be using.
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")


def served(folder: Path) -> list[Any]:
    """Greedy continuations by vLLM, with the log-probability of each token."""
    from vllm import LLM, SamplingParams  # pyright: ignore[reportMissingImports]  # only in vLLM's own environment
    from vllm.distributed import cleanup_dist_env_and_memory  # pyright: ignore[reportMissingImports]

    settings = {"dtype": "float32", "max_model_len": 64, "enforce_eager": True, "disable_log_stats": True}
    try:
        engine = LLM(model=str(folder), skip_tokenizer_init=True, **settings)
        greedy = SamplingParams(temperature=0, max_tokens=TOKENS, logprobs=0, detokenize=False, ignore_eos=True)
        prompts = [{"prompt_token_ids": ids} for ids in PROMPTS]
        return [output.outputs[0] for output in engine.generate(prompts, greedy, use_tqdm=False)]
    finally:
        # An engine that fails leaves half of its process groups behind, and the next one fails on those.
        cleanup_dist_env_and_memory()


def logprobs(model: Any, prompt: list[int], tokens: list[int]) -> np.ndarray:
    with torch.no_grad():
        scores = model(torch.tensor([prompt + tokens])).logits[0].log_softmax(dim=-1)
    return np.array([scores[len(prompt) + at - 1, token].item() for at, token in enumerate(tokens)])


@pytest.mark.parametrize("name", MIXTURES)
def test_vllm_says_what_transformers_says(dense: Callable[..., Artifact[Checkpoint]], tmp_path: Path, name: str):
    made = upcycle(tmp_path / "moe", MIXTURES[name], dense(head_size=32, deviation=0.15))
    outputs = served(made.dir)
    register_hf_models()
    model = transformers.AutoModelForCausalLM.from_pretrained(made.dir).eval()
    largest = 0.0
    for prompt, output in zip(PROMPTS, outputs, strict=True):
        tokens = list(output.token_ids)
        greedy = model.generate(
            torch.tensor([prompt]), max_new_tokens=TOKENS, do_sample=False, pad_token_id=0, eos_token_id=None
        )
        assert greedy[0, len(prompt) :].tolist() == tokens
        theirs = np.array([step[token].logprob for step, token in zip(output.logprobs, tokens, strict=True)])
        largest = max(largest, float(np.abs(theirs - logprobs(model, prompt, tokens)).max()))
    print(f"{name}: greedy text equal on {len(PROMPTS)} prompts, log-probabilities within {largest:.1e}")  # noqa: T201  # for RESULTS.md
    assert largest < 1e-3
    if name not in ("plain", "partly"):
        plain = transformers.MixtralForCausalLM(transformers.MixtralConfig(**model.config.to_dict())).eval()
        plain.load_state_dict(model.state_dict())
        moved = max(
            float(np.abs(logprobs(model, prompt, [*out.token_ids]) - logprobs(plain, prompt, [*out.token_ids])).max())
            for prompt, out in zip(PROMPTS, outputs, strict=True)
        )
        assert moved > 0.01, "as a plain Mixtral the model would say the same: nothing was tested"
