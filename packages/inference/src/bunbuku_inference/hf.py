"""Transformers in this process. The only module that knows torch and transformers.

Requests of like length are computed together: left-padded to write, right-padded to score. Each row has its own seed, its
own end and its own stop strings, so that what it gets does not depend, beyond rounding, on the rows beside it.
"""

import contextlib
import gc
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bunbuku_contracts.models import register_hf_models

from bunbuku_inference.encoding import Encoder, cut
from bunbuku_inference.engine import TransformersEngine
from bunbuku_inference.errors import EngineError
from bunbuku_inference.model import DROPPED, Dropped, Finished, Groups, Halted, Told
from bunbuku_inference.request import Answer, Request, Sampling, ScoreRequest
from bunbuku_inference.watchdog import Watchdog
from bunbuku_inference.workload import Job, Piece, Tally, jobs

try:
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        GenerationConfig,
        LogitsProcessor,
        LogitsProcessorList,
        PreTrainedModel,
        StoppingCriteria,
        StoppingCriteriaList,
    )
    from transformers.utils import logging as transformers_logging
except ImportError as error:
    raise EngineError(
        f"the 'transformers' engine is not installed: {error}", hint="install bunbuku-inference[transformers]"
    ) from error

# Shapes: B rows, L tokens of the longest row, V vocabulary

_SCORED_VALUES = 2**26
"""Logits held at once when scoring: 256 MiB in float32."""


class Transformers:
    """A model in this process's memory."""

    def __init__(self, engine: TransformersEngine, weights: Path) -> None:
        self._engine = engine
        self._told: Told | None = None
        self._dropped: Dropped | None = None
        self._watchdog = Watchdog(engine.hangs_after_seconds, name=weights.name)
        if engine.threads:
            torch.set_num_threads(engine.threads)
        device = engine.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._device = torch.device(device)
        tokenizer, self._model = _open(weights, getattr(torch, engine.dtype))
        self._encoder = Encoder(tokenizer, name=weights.name)
        self._model.to(device=self._device)  # pyright: ignore[reportCallIssue]
        self._model.eval()
        shape = self._model.config.get_text_config()
        self._context: int = shape.max_position_embeddings
        self._vocabulary: int = shape.vocab_size
        self._ends = _ends(self._model, tokenizer.eos_token_id)
        # A checkpoint's own generation defaults (top_k, repetition_penalty, …) would change what was asked.
        self._model.generation_config = GenerationConfig()

    def close(self) -> None:
        """Free the model's memory."""
        self._watchdog.close()
        del self._model
        gc.collect()

    def generate(self, requests: Sequence[Request], *, halted: Halted) -> Groups:
        """Answers, a batch at a time."""
        work = jobs(requests, self._encoder, self._context)
        yield work.settled
        # Longest first: what does not fit into memory fails early.
        todo = sorted(work.todo, key=lambda job: (-job.request.sampling.max_tokens, -len(job.ids), job.index))
        for batch in self._batches(todo, [len(job.ids) + job.request.sampling.max_tokens for job in todo]):
            if halted():
                return
            with torch.inference_mode(), self._watchdog:
                answers = self._write(batch)
            yield answers

    def stream(self, requests: Sequence[Request], told: Told, dropped: Dropped) -> Groups:
        """Answers like `generate`'s, with the text so far told while it is written, until it is dropped."""
        self._told, self._dropped = told, dropped
        try:
            yield from self.generate(requests, halted=lambda: False)
        finally:
            self._told = self._dropped = None

    def score(self, requests: Sequence[ScoreRequest]) -> Groups:
        """Scores, a batch of windows at a time."""
        tally = Tally(requests, self._encoder, self._context)
        yield tally.work.settled
        todo = sorted(tally.work.todo, key=lambda piece: (-len(piece.ids), piece.index, piece.number))
        for batch in self._batches(todo, [len(piece.ids) for piece in todo]):
            with torch.inference_mode(), self._watchdog:
                sums = self._logprobs(batch)
            pairs = zip(batch, sums, strict=True)
            yield [done for piece, logprob in pairs for done in tally.take(piece, logprob)]

    def _batches[T](self, items: list[T], lengths: list[int]) -> Iterator[list[T]]:
        """Runs of `items` within the engine's limits; one that alone goes beyond them is a run of its own."""
        begin = 0
        while begin < len(items):
            end, longest = begin + 1, lengths[begin]
            while end < len(items) and end - begin < self._engine.batch_size:
                longest = max(longest, lengths[end])
                if longest * (end + 1 - begin) > self._engine.max_batch_tokens:
                    break
                end += 1
            yield items[begin:end]
            begin = end

    def _write(self, batch: list[Job]) -> list[Finished]:
        longest = max(len(job.ids) for job in batch)
        ids_BL = torch.tensor([[0] * (longest - len(job.ids)) + job.ids for job in batch])
        mask_BL = torch.tensor([[0] * (longest - len(job.ids)) + [1] * len(job.ids) for job in batch])
        ending = _Ending(
            batch,
            longest,
            self._encoder,
            self._ends,
            self._context,
            told=self._told,
            dropped=self._dropped,
            watchdog=self._watchdog,
        )
        settings = GenerationConfig(do_sample=False, max_new_tokens=max(ending.limits), pad_token_id=0)
        with _quietly():
            written_BL = self._model.generate(  # pyright: ignore[reportCallIssue]
                ids_BL.to(self._device),
                attention_mask=mask_BL.to(self._device),
                generation_config=settings,
                logits_processor=LogitsProcessorList([_Draw([job.request for job in batch])]),
                stopping_criteria=StoppingCriteriaList([ending]),
            )
        return [
            Finished(job.index, DROPPED if job.index in ending.left else self._answer(job, ids[:length]))
            for job, ids, length in zip(batch, written_BL[:, longest:].tolist(), ending.lengths, strict=True)
        ]

    def _answer(self, job: Job, written: list[int]) -> Answer:
        ended = written[-1] in self._ends
        text = self._encoder.continuation(job.ids, written[:-1] if ended else written)
        text, stopped = cut(text, job.request.sampling.stop)
        return Answer(
            text=text,
            prompt_tokens=len(job.ids),
            completion_tokens=len(written),
            finish="stop" if ended or stopped else "length",
        )

    def _logprobs(self, batch: list[Piece]) -> list[float]:
        """For each piece, the sum over its scored tokens, in natural logarithms."""
        longest = max(len(piece.ids) for piece in batch)
        first = min(piece.first for piece in batch)
        ids_BL = torch.tensor([piece.ids + [0] * (longest - len(piece.ids)) for piece in batch], device=self._device)
        mask_BL = torch.tensor([[1] * len(piece.ids) + [0] * (longest - len(piece.ids)) for piece in batch])
        token_logprobs_BL = torch.zeros(len(batch), longest, dtype=torch.float64)
        # The head's output is the largest tensor by far: taken for a few rows at a time, from the first token needed.
        rows = max(1, _SCORED_VALUES // ((longest - first) * self._vocabulary))
        places = torch.arange(first - 1, longest - 1, device=self._device)
        for begin in range(0, len(batch), rows):
            some = slice(begin, begin + rows)
            mask = mask_BL[some].to(self._device)
            logits_BLV = self._model(input_ids=ids_BL[some], attention_mask=mask, logits_to_keep=places).logits.float()
            chosen_BL = logits_BLV.gather(-1, ids_BL[some, first:].unsqueeze(-1)).squeeze(-1)
            self._watchdog.alive()
            token_logprobs_BL[some, first:] = (chosen_BL - logits_BLV.logsumexp(-1)).double().cpu()
        return [float(token_logprobs_BL[row, piece.first : len(piece.ids)].sum()) for row, piece in enumerate(batch)]


class _Draw(LogitsProcessor):
    """Adds Gumbel noise from each row's own generator, so that the likeliest token is a draw from the distribution.

    Gumbel-max: argmax(log p + g) is distributed as p if the g are independent standard Gumbel variables, which
    -log(e) is for standard exponential e (Maddison et al. 2014, arXiv:1411.0030, §2).
    """

    def __init__(self, requests: Sequence[Request]) -> None:
        self._samplings = [request.sampling for request in requests]
        self._generators = [torch.Generator().manual_seed(request.seed) for request in requests]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        rows = [
            _drawn(row, sampling, generator)
            for row, sampling, generator in zip(scores, self._samplings, self._generators, strict=True)
        ]
        return torch.stack(rows)


def _drawn(logits_V: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> torch.Tensor:
    if sampling.temperature == 0:
        return logits_V.float()
    logprobs_V = (logits_V.float() / sampling.temperature).log_softmax(-1)
    if sampling.top_p < 1:
        ranked_V, places_V = logprobs_V.sort(descending=True, stable=True)
        before_V = ranked_V.exp().cumsum(-1) - ranked_V.exp()
        logprobs_V = logprobs_V.index_fill(0, places_V[before_V >= sampling.top_p], -math.inf)
    noise_V = -torch.empty(logprobs_V.shape).exponential_(generator=generator).log()
    return logprobs_V + noise_V.to(logprobs_V.device)


@dataclass(eq=False)
class _Ending(StoppingCriteria):
    """Ends each row by itself: at an end-of-sequence token, a stop string, its own limit or the context's, or when dropped."""

    batch: list[Job]
    longest: int
    encoder: Encoder
    ends: frozenset[int]
    context: int
    lengths: list[int] = field(default_factory=list)
    """Tokens each row wrote; 0 while it still writes."""
    told: Told | None = None
    dropped: Dropped | None = None
    left: set[int] = field(default_factory=set[int])
    """Jobs, by index, that were dropped on the way."""
    watchdog: Watchdog | None = None

    def __post_init__(self) -> None:
        self.lengths = [0] * len(self.batch)

    @property
    def limits(self) -> list[int]:
        return [min(row.request.sampling.max_tokens, self.context - len(row.ids)) for row in self.batch]

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        if self.watchdog:
            self.watchdog.alive()
        written = input_ids.shape[1] - self.longest
        for row, (job, limit) in enumerate(zip(self.batch, self.limits, strict=True)):
            if self.lengths[row] > 0:
                continue
            if self.dropped and self.dropped(job.index):
                self.lengths[row] = written
                self.left.add(job.index)
            elif written >= limit or self._ends_here(job, input_ids[row, self.longest :].tolist()):
                self.lengths[row] = written
            elif self.told:
                self.told(job.index, self._so_far(job, input_ids[row, self.longest :].tolist()))
        return torch.tensor([length > 0 for length in self.lengths], device=input_ids.device)

    def _so_far(self, job: Job, written: list[int]) -> str:
        """What is surely part of the answer: no half character, and nothing that may become a stop string."""
        text = self.encoder.continuation(job.ids, written).rstrip("\ufffd")
        longest = max(map(len, job.request.sampling.stop), default=1) - 1
        return text[: len(text) - longest] if longest else text

    def _ends_here(self, job: Job, written: list[int]) -> bool:
        stops = job.request.sampling.stop
        return written[-1] in self.ends or bool(stops and cut(self.encoder.continuation(job.ids, written), stops)[1])


@contextlib.contextmanager
def _quietly() -> Generator[None]:
    """No progress bars, and no warning that a batch's padded rows are longer than the context: none of its texts is."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _open(weights: Path, dtype: torch.dtype) -> tuple[Any, PreTrainedModel]:
    folder, named = weights, {}
    if weights.suffix == ".gguf":
        folder, named = weights.parent, {"gguf_file": weights.name}
    if not (weights.is_file() if named else (folder / "config.json").is_file()):
        raise EngineError(
            f"{str(weights)!r} is no model that transformers can open",
            hint="give a folder with config.json, *.safetensors and a tokenizer, or a .gguf file; a Megatron checkpoint is "
            "exported first, an adapter merged",
        )
    register_hf_models()
    try:
        with _quietly():
            tokenizer = AutoTokenizer.from_pretrained(folder, **named)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **named)
    except (OSError, ValueError, KeyError) as error:
        raise EngineError(f"{str(weights)!r} does not open: {str(error).splitlines()[0]}") from error
    return tokenizer, model


def _ends(model: PreTrainedModel, eos: int | None) -> frozenset[int]:
    """Tokens after which a turn is over: the tokenizer's, and those the checkpoint adds for generation."""
    more = model.generation_config.eos_token_id if model.generation_config else None
    more = more if isinstance(more, list) else [more]
    return frozenset(token for token in (eos, *more) if token is not None)
