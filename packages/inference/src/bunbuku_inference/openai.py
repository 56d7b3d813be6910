"""Any server that speaks OpenAI's protocol. The only module that knows the `openai` client.

Text comes from `/v1/completions` and `/v1/chat/completions`. Log-probabilities of a given text are no part of the protocol
as it is now, so there are two ways: vLLM's, recognised by its `/tokenize`, which takes chats and long texts too;
and the older `echo`, which some servers still have, for raw prompts within the context. A server with neither gives an
error that says so.

Busy, broken and slow servers are asked again, with growing pauses; what a server refuses is not.
"""

import json
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import islice, pairwise
from typing import Any

import openai
import tenacity
from httpx2 import Response
from pydantic import BaseModel, ValidationError

from bunbuku_inference.engine import OpenAIEngine
from bunbuku_inference.errors import EngineError
from bunbuku_inference.model import Finished, Groups, Halted
from bunbuku_inference.protocol import ChatReply, CompletionReply, Problem, TokenizeReply
from bunbuku_inference.request import Answer, Failure, Prompt, Request, Score, ScoreRequest
from bunbuku_inference.span import Window, shared, windows

_AGAIN = (408, 409, 425, 429)
_LONGEST_WAIT_SECONDS = 60.0
_LONGEST_RETRY_AFTER_SECONDS = 600.0


class _Again(Exception):
    """An attempt failed in a way that another may not."""

    def __init__(self, failure: Failure, *, after: float | None = None, unreachable: bool = False) -> None:
        super().__init__(failure.detail)
        self.failure = failure
        self.after = after
        self.unreachable = unreachable


class _Refused(Exception):
    """The server will not take this request, now or later."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


class Server:
    """A model behind a server."""

    def __init__(self, engine: OpenAIEngine) -> None:
        self._engine = engine
        self._client = openai.OpenAI(
            base_url=engine.base_url,
            api_key=os.environ.get(engine.api_key_variable) or "none",
            timeout=engine.timeout_seconds,
            max_retries=0,
        )
        self._tokenizes: bool | None = None
        self._probing = threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def generate(self, requests: Sequence[Request], *, halted: Halted) -> Groups:
        """Answers as they come."""
        yield from self._all(requests, self._write, halted)

    def score(self, requests: Sequence[ScoreRequest]) -> Groups:
        """Scores as they come."""
        yield from self._all(requests, self._score, lambda: False)

    def _all[R](
        self, requests: Sequence[R], ask: "Callable[[R, _Attempts], Answer | Score | Failure]", halted: Halted
    ) -> Groups:
        """Each request's outcome, `concurrency` of them under way at once.

        When one shows that no other will be answered either, those that are answered by then are given out first: they may
        have been paid for.
        """
        waiting = iter(enumerate(requests))
        under_way: set[Future[Finished]] = set()
        ending = threading.Event()
        with ThreadPoolExecutor(self._engine.concurrency, thread_name_prefix="ask") as pool:
            try:
                while True:
                    # Twice as many are handed over, so that no connection waits while answers are stored.
                    room = 0 if halted() else 2 * self._engine.concurrency - len(under_way)
                    for index, request in islice(waiting, room):
                        attempts = _Attempts(self._engine, ending)
                        under_way.add(pool.submit(self._one, index, partial(ask, request, attempts), attempts))
                    if not under_way:
                        return
                    done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    if any(future.exception() for future in done):
                        ending.set()
                        late, under_way = wait(under_way)
                        done |= late
                    yield [future.result() for future in done if not future.exception()]
                    for future in done:
                        future.result()
            except BaseException:
                ending.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _one(self, index: int, ask: Callable[[], Answer | Score | Failure], attempts: "_Attempts") -> Finished:
        try:
            return Finished(index, ask(), attempts.retries)
        except _Refused as refused:
            return Finished(index, refused.failure, attempts.retries)
        except _Again as again:
            if again.unreachable:
                raise EngineError(
                    f"{self._engine.base_url!r} cannot be reached: {again.failure.detail}",
                    hint="is the server running, and `base_url` in the run settings right?",
                ) from again
            return Finished(index, again.failure, attempts.retries)

    def _write(self, request: Request, attempts: "_Attempts") -> Answer | Failure:
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": self._engine.served_model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": request.seed,
        }
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if request.reply_schema and self._engine.guided:
            held = {"name": "reply", "schema": json.loads(request.reply_schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": held}
        if isinstance(request.prompt, str):
            body["prompt"] = request.prompt
            return attempts.until(partial(self._post, "/completions", body, CompletionReply)).outcome()
        body["messages"] = _turns(request.prompt)
        return attempts.until(partial(self._post, "/chat/completions", body, ChatReply)).outcome()

    def _score(self, request: ScoreRequest, attempts: "_Attempts") -> Score | Failure:
        if self._has_tokenize(attempts):
            return self._score_tokens(request, attempts)
        if not isinstance(request.prompt, str):
            raise self._cannot("give log-probabilities of a chat")
        return self._score_echo(request.prompt, request.completion, attempts)

    def _has_tokenize(self, attempts: "_Attempts") -> bool:
        """Whether the server has vLLM's `/tokenize`; found out once."""
        with self._probing:
            if self._tokenizes is None:
                try:
                    attempts.until(partial(self._tokenize, {"prompt": "a"}))
                    self._tokenizes = True
                except (_Refused, EngineError):
                    self._tokenizes = False
                except _Again as again:
                    if again.failure.reason != "malformed":
                        raise
                    self._tokenizes = False
            return self._tokenizes

    def _score_tokens(self, request: ScoreRequest, attempts: "_Attempts") -> Score | Failure:
        alone, together = _before_and_with(request)
        prompt = attempts.until(partial(self._tokenize, alone))
        whole = attempts.until(partial(self._tokenize, together))
        first = shared(prompt.tokens, whole.tokens)
        if first == 0 and whole.tokens:
            raise EngineError(
                f"the tokenizer of {self._engine.served_model!r} puts no begin-of-sequence token before a text, so its "
                "first token cannot be scored",
                hint="give a prompt of at least one character",
            )
        found = windows(len(whole.tokens), max(1, first), whole.max_model_len - 1)
        sums = [self._window(whole.tokens, window, attempts) for window in found]
        return Score(logprob=math.fsum(sums), tokens=max(0, len(whole.tokens) - first))

    def _window(self, tokens: list[int], window: Window, attempts: "_Attempts") -> float:
        ids = tokens[window.begin : window.end]
        body = {"model": self._engine.served_model, "prompt": ids, "max_tokens": 1, "prompt_logprobs": 0}
        choice = attempts.until(partial(self._post, "/completions", body, CompletionReply)).choices[0]
        given = choice.prompt_logprobs or []
        scored = range(window.first - window.begin, len(ids))
        found = [position.get(ids[at]) for at in scored if at < len(given) and (position := given[at])]
        logprobs = [token.logprob for token in found if token]
        if len(logprobs) != len(scored):
            raise self._cannot("give `prompt_logprobs`")
        return math.fsum(logprobs)

    def _score_echo(self, prompt: str, completion: str, attempts: "_Attempts") -> Score | Failure:
        text = prompt + completion
        if not completion:
            return Score(logprob=0.0, tokens=0)
        asked = {"prompt": text, "max_tokens": 1, "echo": True, "logprobs": 1, "temperature": 0}
        body = {"model": self._engine.served_model, **asked}
        choice = attempts.until(partial(self._post, "/completions", body, CompletionReply)).choices[0]
        if choice.logprobs is None or not choice.text.startswith(text):
            raise self._cannot("give log-probabilities of a prompt (`echo`)")
        places = pairwise([*choice.logprobs.text_offset, len(choice.text)])
        scored = [
            logprob
            for (begin, end), logprob in zip(places, choice.logprobs.token_logprobs, strict=False)
            if begin < len(text) and end > len(prompt)
        ]
        if not scored or None in scored:
            raise EngineError(
                f"the server at {self._engine.base_url!r} gives no log-probability of a text's first token",
                hint="give a prompt of at least one character",
            )
        return Score(logprob=math.fsum(value for value in scored if value is not None), tokens=len(scored))

    def _tokenize(self, body: dict[str, Any]) -> TokenizeReply:
        root = self._engine.base_url.rstrip("/").removesuffix("/v1")
        return self._post(f"{root}/tokenize", {"model": self._engine.served_model, **body}, TokenizeReply)

    def _cannot(self, what: str) -> EngineError:
        return EngineError(
            f"the server at {self._engine.base_url!r} does not {what}",
            hint="score with the 'transformers' or 'vllm' engine, or with vLLM's own server",
        )

    def _post[B: BaseModel](self, path: str, body: dict[str, Any], kind: type[B]) -> B:
        """One attempt.

        Raises:
            _Again: Another attempt may fare better.
            _Refused: Another attempt of this request will not.
            EngineError: Nor will any other request.
        """
        try:
            response = self._client.post(path, body=body, cast_to=Response)
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(step) for step in first["loc"]) or "the reply"
            detail = f"{where} of {path!r}: {first['msg']}"
            raise _Again(Failure(reason="malformed", detail=detail)) from error
        except openai.APIConnectionError as error:
            slow = isinstance(error, openai.APITimeoutError)
            detail = f"no reply within {self._engine.timeout_seconds:g} s" if slow else str(error.__cause__ or error)
            raise _Again(Failure(reason="exhausted", detail=detail), unreachable=not slow) from error
        except openai.APIStatusError as error:
            raise self._judged(error) from error

    def _judged(self, error: openai.APIStatusError) -> Exception:
        problem, status = _problem(error), error.status_code
        detail = f"status {status}: {problem.message or error.message}"
        if (status in _AGAIN or status >= 500) and not problem.is_quota:
            return _Again(Failure(reason="exhausted", detail=detail), after=_retry_after(error))
        if status in (400, 413, 422):
            return _Refused(Failure(reason="too_long" if problem.is_length else "rejected", detail=detail))
        return EngineError(
            f"the server at {self._engine.base_url!r} does not serve {self._engine.served_model!r} to us: {detail}",
            hint=f"see `base_url`, `served_model` and the key in ${self._engine.api_key_variable}",
        )


class _Attempts:
    """The patience left for one request."""

    def __init__(self, engine: OpenAIEngine, ending: threading.Event) -> None:
        self.retries = 0
        self._ending = ending
        first = engine.first_wait_seconds
        growing = tenacity.wait_exponential(multiplier=first, max=_LONGEST_WAIT_SECONDS)
        self._pause = growing + tenacity.wait_random(0, first / 2)
        self._stop = tenacity.stop_any(
            tenacity.stop_after_attempt(engine.attempts), tenacity.stop_when_event_set(ending)
        )

    def until[T](self, attempt: Callable[[], T]) -> T:
        """The outcome of the first attempt that succeeds.

        Raises:
            _Again: The last attempt failed as well.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            stop=self._stop,
            wait=self._wait,
            sleep=tenacity.sleep_using_event(self._ending),
            before_sleep=self._count,
            reraise=True,
        )
        return retrying(attempt)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        failed = state.outcome.exception() if state.outcome else None
        if isinstance(failed, _Again) and failed.after is not None:
            return min(failed.after, _LONGEST_RETRY_AFTER_SECONDS)
        return self._pause(state)

    def _count(self, _: tenacity.RetryCallState) -> None:
        self.retries += 1


def _turns(prompt: Prompt) -> list[dict[str, str]]:
    return [message.model_dump() for message in prompt if not isinstance(message, str)]


def _before_and_with(request: ScoreRequest) -> Iterator[dict[str, Any]]:
    """What `/tokenize` is given for the prompt alone, and for prompt and completion as one text."""
    if isinstance(request.prompt, str):
        yield {"prompt": request.prompt}
        yield {"prompt": request.prompt + request.completion}
        return
    turns = _turns(request.prompt)
    yield {"messages": turns, "add_generation_prompt": True}
    said = [*turns, {"role": "assistant", "content": request.completion}]
    yield {"messages": said, "add_generation_prompt": False, "continue_final_message": True}


def _problem(error: openai.APIStatusError) -> Problem:
    body = error.body
    try:
        if isinstance(body, dict) and isinstance(body.get("error"), dict):
            body = body["error"]
        return Problem.model_validate(body)
    except ValidationError:
        return Problem(message=str(body or ""))


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Seconds the server asks to wait; a date instead of a number counts as nothing said."""
    said = error.response.headers.get("retry-after", "")
    try:
        seconds = float(said)
    except ValueError:
        return None
    return seconds if seconds >= 0 and math.isfinite(seconds) else None
