"""A model that is open for questions: an engine's backend, joined to the request cache and the meter."""

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Protocol, Self, assert_never

from bunbuku_contracts.artifact import MANIFEST, load
from bunbuku_contracts.digest import hash_json, hash_tree
from bunbuku_contracts.manifest import Spec

from bunbuku_inference.accounts import Account, BudgetSpent, Price, Purse, Spending
from bunbuku_inference.cache import Cache
from bunbuku_inference.engine import OpenAIEngine, TransformersEngine, VllmEngine
from bunbuku_inference.errors import EngineError, RequestsFailed
from bunbuku_inference.meter import Meter
from bunbuku_inference.request import Answer, Failure, Request, Score, ScoreRequest

_RULES = 1
"""Part of every cache key. Raised when the same request to the same model would now be tokenized or scored otherwise."""

type Outcome = Answer | Score | Failure
type Progress = Callable[[int], object]
"""Told how many more requests are finished."""


@dataclass(frozen=True)
class Finished:
    """The outcome of the request at `index` of those a backend was given."""

    index: int
    outcome: Outcome
    retries: int = 0


type Groups = Generator[list[Finished]]
"""Outcomes as they come, in any order; a group is stored in one transaction."""
type Told = Callable[[int, str], object]
"""Told the index of a request and the text so far."""
type Halted = Callable[[], bool]
"""Whether no more requests are to be begun."""
type Dropped = Callable[[int], bool]
"""Whether nobody waits for the answer to the request at this index any more."""
DROPPED = Failure(reason="dropped", detail="nobody waited for the end of the answer")


class Backend(Protocol):
    """What an engine's module gives: every request gets exactly one outcome."""

    def generate(self, requests: Sequence[Request], *, halted: Halted) -> Groups:
        """Outcomes of all requests, or of those that were begun before `halted` became true."""
        ...

    def score(self, requests: Sequence[ScoreRequest]) -> Groups: ...

    def close(self) -> None: ...


class Model:
    """A model open for questions; made by `open_model`. Use it as a context manager, or close it."""

    def __init__(
        self, backend: Backend, *, name: str, digest: str | None, identity: str, cache: Cache | None, purse: Purse
    ) -> None:
        self.name = name
        """What it is called: the served name, or the last part of the path of its weights."""
        self.digest = digest
        """Content digest of its weights; `None` if a server has them."""
        self.meter = Meter()
        self._backend = backend
        self._identity = identity
        self._cache = cache
        self._purse = purse
        self._entered: set[Path] = set()
        self._enter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back memory, connections and the cache file."""
        self._backend.close()
        if self._cache:
            self._cache.close()

    def keep_in(self, path: Path) -> None:
        """Keep outcomes in this file from here on: a step of a chain has a store of its own."""
        if self._cache and self._cache.path == path:
            return
        fresh = Cache(path)
        if self._cache:
            self._cache.close()
        self._cache = fresh
        self._enter()

    def _enter(self) -> None:
        """Enter what earlier processes of the same run spent on this file."""
        if self._cache and self._cache.path not in self._entered:
            self._entered.add(self._cache.path)
            self._purse.pay(self._cache.spent(self._purse.label))

    def generate(self, requests: Sequence[Request], *, progress: Progress | None = None) -> list[Answer]:
        """Answers in the order of the requests.

        Raises:
            RequestsFailed: Some have no answer. All others are finished by then, and in the cache.
        """
        outcomes = self.try_generate(requests, progress=progress)
        return _whole([found for found in outcomes if isinstance(found, Answer)], outcomes, self.name)

    def score(self, requests: Sequence[ScoreRequest], *, progress: Progress | None = None) -> list[Score]:
        """Log-probabilities in the order of the requests.

        Raises:
            RequestsFailed: Some have none. All others are finished by then, and in the cache.
        """
        outcomes = self.try_score(requests, progress=progress)
        return _whole([found for found in outcomes if isinstance(found, Score)], outcomes, self.name)

    def try_generate(self, requests: Sequence[Request], *, progress: Progress | None = None) -> list[Answer | Failure]:
        """Like `generate`, with a `Failure` in the place of an answer that could not be had.

        Raises:
            BudgetSpent: The account has no more; what was begun is finished, and in the cache.
        """
        run = partial(self._backend.generate, halted=lambda: self._purse.empty)
        outcomes = self._ask(Answer, requests, run, progress)
        if missing := sum(outcome is None for outcome in outcomes):
            raise BudgetSpent(self._purse.account, missing)
        return [outcome for outcome in outcomes if outcome is not None]

    def stream(
        self, requests: Sequence[Request], told: Told, *, dropped: Dropped = lambda _: False
    ) -> list[Answer | Failure]:
        """Answers, told while they are written: `told(index, text)` gets the whole text so far, and at last all of it.

        An answer is broken off, and is a `Failure`, as soon as `dropped(index)` is true. Nothing is looked up in the cache
        or kept there. An engine that cannot tell tells the whole text at once, and does not break off.
        """
        begun = perf_counter()
        begin = getattr(self._backend, "stream", None)
        groups = begin(requests, told, dropped) if begin else self._backend.generate(requests, halted=lambda: False)
        outcomes: dict[int, Answer | Failure] = {}
        for group in groups:
            self._count(group)
            for done in group:
                outcome = _checked(done.outcome, Answer)
                outcomes[done.index] = outcome
                if isinstance(outcome, Answer):
                    told(done.index, outcome.text)
        self.meter.requests += len(requests)
        self.meter.seconds += perf_counter() - begun
        return [outcomes[index] for index in range(len(requests))]

    def try_score(self, requests: Sequence[ScoreRequest], *, progress: Progress | None = None) -> list[Score | Failure]:
        """Like `score`, with a `Failure` in the place of a score that could not be had."""
        outcomes = self._ask(Score, requests, self._backend.score, progress)
        return [outcome for outcome in outcomes if outcome is not None]

    def _ask[R: Request | ScoreRequest, O: Answer | Score](
        self, kind: type[O], requests: Sequence[R], run: Callable[[list[R]], Groups], progress: Progress | None
    ) -> list[O | Failure | None]:
        """The outcome of each request, `None` for those that a budget left unasked."""
        started = perf_counter()
        keys = [self._key(request) for request in requests]
        wanted = Counter(keys)
        stored = self._cache.read(keys) if self._cache else {}
        outcomes: dict[str, O | Failure] = {key: kind.model_validate_json(text) for key, text in stored.items()}
        missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in outcomes}
        self.meter.requests += len(requests)
        self.meter.cached += len(requests) - len(missing)
        if progress and outcomes:
            progress(sum(wanted[key] for key in outcomes))
        asked = list(missing)
        with closing(run(list(missing.values()))) as groups:
            for group in groups:
                fresh = {asked[done.index]: _checked(done.outcome, kind) for done in group}
                now = perf_counter()
                self._keep(fresh, seconds=now - started)
                self.meter.seconds += now - started
                started = now
                self._count(group)
                outcomes |= fresh
                if progress and fresh:
                    progress(sum(wanted[key] for key in fresh))
        self.meter.seconds += perf_counter() - started
        return [outcomes.get(key) for key in keys]

    def _key(self, request: Request | ScoreRequest) -> str:
        said = request.model_dump(mode="json", exclude_none=True)
        if isinstance(request, Request) and request.sampling.temperature == 0:
            said["seed"], said["sampling"]["top_p"] = 0, 1.0  # the likeliest is the likeliest
        asked = {"ask": type(request).__name__, "request": said}
        return hash_json({"rules": _RULES, "model": self._identity, **asked})

    def _keep(self, fresh: Mapping[str, Answer | Score | Failure], *, seconds: float) -> None:
        """Store what is no failure, and what it took, in one transaction."""
        good = {key: outcome for key, outcome in fresh.items() if not isinstance(outcome, Failure)}
        answers = [outcome for outcome in good.values() if isinstance(outcome, Answer)]
        spending = Spending(
            len(good),
            sum(answer.prompt_tokens for answer in answers),
            sum(answer.completion_tokens for answer in answers),
            seconds,
        )
        self._purse.pay(spending)
        if self._cache:
            rows = ((key, outcome.model_dump_json()) for key, outcome in good.items())
            self._cache.write(rows, label=self._purse.label, spending=spending)

    def _count(self, group: list[Finished]) -> None:
        for done in group:
            self.meter.retries += done.retries
            match done.outcome:
                case Answer() as answer:
                    self.meter.prompt_tokens += answer.prompt_tokens
                    self.meter.completion_tokens += answer.completion_tokens
                case Score() as score:
                    self.meter.scored_tokens += score.tokens
                case Failure() as failure:
                    self.meter.failed += 1
                    self.meter.reasons[failure.reason] += 1


def open_model(
    engine: TransformersEngine | VllmEngine | OpenAIEngine,
    weights: Path | None,
    *,
    cache: Path | None = None,
    purse: Purse | None = None,
) -> Model:
    """Open a model for questions.

    Args:
        engine: Where it runs.
        weights: A Hugging Face folder (a checkpoint artifact is one) or a `.gguf` file. A server has its own: then
            `None`, or the weights that it is known to serve, which makes its cached answers theirs.
        cache: SQLite file for outcomes, made if absent. The same question to the same model is asked once. What counts
            as the same model is the content of the weights (of a server without them: the served name) and the
            arithmetic: an answer in bfloat16 is no answer in float32.
        purse: Of the account that pays; without one, nothing is capped.

    Raises:
        EngineError: The engine is not installed, or cannot open the model.
    """
    backend = _backend(engine, weights)
    try:
        digest = _digest(weights) if weights else None
        name = engine.model if isinstance(engine, OpenAIEngine) else str(weights and weights.name)
        rows = Cache(cache) if cache else None
    except BaseException:
        backend.close()
        raise
    identity = f"{digest or name}/{_arithmetic(engine)}"
    return Model(
        backend, name=name, digest=digest, identity=identity, cache=rows, purse=purse or Account().purse(name, Price())
    )


def _backend(engine: TransformersEngine | VllmEngine | OpenAIEngine, weights: Path | None) -> Backend:
    if isinstance(engine, OpenAIEngine):
        from bunbuku_inference.openai import Server

        return Server(engine)
    if weights is None:
        raise EngineError(
            f"the {engine.type!r} engine needs weights", hint="give a Hugging Face folder or a .gguf file"
        )
    if isinstance(engine, TransformersEngine):
        from bunbuku_inference.hf import Transformers

        return Transformers(engine, weights)
    if isinstance(engine, VllmEngine):
        from bunbuku_inference.vllm import Vllm

        return Vllm(engine, weights)
    assert_never(engine)


def _arithmetic(engine: TransformersEngine | VllmEngine | OpenAIEngine) -> str:
    match engine:
        case TransformersEngine():
            return f"transformers/{engine.dtype}"
        case VllmEngine():
            return f"vllm/{engine.dtype}/{engine.max_context_tokens}"
        case OpenAIEngine():
            return "openai"


def _digest(weights: Path) -> str:
    if (weights / MANIFEST).exists():
        return load(weights, Spec).manifest.content
    return hash_tree(weights)


def _checked[O: Answer | Score](outcome: Outcome, kind: type[O]) -> O | Failure:
    assert isinstance(outcome, kind | Failure), f"a backend gave {outcome!r} where {kind.__name__} was asked"
    return outcome


def _whole[O: Answer | Score](found: list[O], outcomes: Sequence[O | Failure], name: str) -> list[O]:
    if failures := [outcome for outcome in outcomes if isinstance(outcome, Failure)]:
        raise RequestsFailed(failures, len(outcomes), name=name)
    return found
