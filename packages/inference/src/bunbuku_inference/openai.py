"""Any server that speaks OpenAI's protocol.

Text comes from `/v1/completions` and `/v1/chat/completions`, whole or as it is written. Log-probabilities of a given text are no part
of the protocol as it is now, so there are two ways: vLLM's, recognised by its `/tokenize`, which takes chats and long texts too;
and the older `echo`, which some servers still have, for raw prompts within the context. A server with neither gives an
error that says so.

Busy, broken and slow servers are asked again, with growing pauses; what a server refuses is not.
"""

import asyncio
import json
import math
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from bunbuku_inference.attempts import Again, Attempts, Refused, retry_after
from bunbuku_inference.crew import Crew
from bunbuku_inference.engine import OpenAIEngine
from bunbuku_inference.errors import EngineError
from bunbuku_inference.model import DROPPED, Dropped, Finished, Groups, Halted, Told
from bunbuku_inference.protocol import ChatReply, CompletionReply, Problem, StreamBroken, Streamed, TokenizeReply
from bunbuku_inference.request import Answer, Failure, Prompt, Request, Score, ScoreRequest
from bunbuku_inference.span import Window, shared, windows
from bunbuku_inference.wire import Reply, Unanswered, Wire

_AGAIN = (408, 409, 425, 429)
_SHOWN_CHARS = 200
"""Of a reply that is no JSON."""

type _Ask[R] = Callable[[R, Attempts], Awaitable[Answer | Score | Failure]]


class Server:
    """A model behind a server."""

    def __init__(self, engine: OpenAIEngine) -> None:
        self._engine = engine
        self._base = engine.base_url.rstrip("/")
        self._wire = Wire(
            self._base,
            connections=engine.concurrency,
            timeout_seconds=engine.timeout_seconds,
            key=os.environ.get(engine.api_key_variable) or "none",
        )
        self._tokenizes: bool | None = None
        self._probing = asyncio.Lock()

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def generate(self, requests: Sequence[Request], *, halted: Halted) -> Groups:
        """Answers as they come."""
        yield from self._all(requests, self._write, halted)

    def score(self, requests: Sequence[ScoreRequest]) -> Groups:
        """Scores as they come."""
        yield from self._all(requests, self._score, lambda: False)

    def stream(self, requests: Sequence[Request], told: Told, dropped: Dropped) -> Groups:
        """Answers like `generate`'s, with the text so far told while it is written, until it is dropped."""
        news: SimpleQueue[tuple[int, str] | Finished | None] = SimpleQueue()
        running = self._wire.start(self._stream_all(requests, news, dropped))
        try:
            while (new := news.get()) is not None:
                if isinstance(new, Finished):
                    yield [new]
                else:
                    told(*new)
            running.result()
        finally:
            running.cancel()

    async def _stream_all(
        self, requests: Sequence[Request], news: "SimpleQueue[tuple[int, str] | Finished | None]", dropped: Dropped
    ) -> None:
        ending = asyncio.Event()

        async def one(index: int, request: Request) -> None:
            def ask(request: Request, attempts: Attempts) -> Awaitable[Answer | Failure]:
                attempt = partial(
                    self._streamed, request, lambda text: news.put((index, text)), partial(dropped, index)
                )
                return attempts.until(attempt)

            try:
                news.put(await self._one((index, request), ending, ask=ask))
            except EngineError:
                ending.set()
                raise

        try:
            await asyncio.gather(*(one(index, request) for index, request in enumerate(requests)))
        finally:
            news.put(None)

    def _all[R](self, requests: Sequence[R], ask: _Ask[R], halted: Halted) -> Groups:
        """Each request's outcome, `concurrency` of them under way at once."""
        do = partial(self._one, ask=ask)
        yield from Crew(self._wire, self._engine.concurrency, enumerate(requests), do).groups(halted)

    async def _one[R](self, numbered: tuple[int, R], ending: asyncio.Event, *, ask: _Ask[R]) -> Finished:
        index, request = numbered
        attempts = Attempts(self._engine, ending)
        try:
            return Finished(index, await ask(request, attempts), attempts.retries)
        except Refused as refused:
            return Finished(index, refused.failure, attempts.retries)
        except Again as again:
            if again.unreachable:
                raise EngineError(
                    f"{self._engine.base_url!r} cannot be reached: {again.failure.detail}",
                    hint="is the server running, and `base_url` in the run settings right?",
                ) from again
            return Finished(index, again.failure, attempts.retries)

    async def _write(self, request: Request, attempts: Attempts) -> Answer | Failure:
        path, kind = _endpoint(request)
        body = to_json(self._asked(request))
        return (await attempts.until(partial(self._post, path, body, kind))).outcome()

    async def _streamed(
        self, request: Request, told: Callable[[str], object], dropped: Callable[[], bool]
    ) -> Answer | Failure:
        """One attempt at a streamed answer. One that breaks off is told anew from its beginning.

        The connection of one that is dropped is closed, which is how a server learns that it may stop.
        """
        path, kind = _endpoint(request)
        body = to_json({**self._asked(request), "stream": True, "stream_options": {"include_usage": True}})
        said = Streamed()
        try:
            async with aclosing(self._wire.lines(self._base + path, body)) as parts:
                async for part in parts:
                    if isinstance(part, Reply):
                        return self._read(path, part, kind).outcome()
                    if dropped():
                        return DROPPED
                    if said.take(part):
                        told(said.text)
            return said.outcome()
        except ValidationError as error:
            raise _malformed(path, error) from error
        except StreamBroken as error:
            raise Again(Failure(reason="exhausted", detail=str(error))) from error
        except Unanswered as error:
            raise _unanswered(error) from error

    def _asked(self, request: Request) -> dict[str, Any]:
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": self._engine.served_model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": request.seed,
        }
        if sampling.stop:
            body["stop"] = sampling.stop
        if request.reply_schema and self._engine.guided:
            held = {"name": "reply", "schema": json.loads(request.reply_schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": held}
        if isinstance(request.prompt, str):
            return body | {"prompt": request.prompt}
        return body | {"messages": _turns(request.prompt)}

    async def _score(self, request: ScoreRequest, attempts: Attempts) -> Score | Failure:
        if await self._has_tokenize(attempts):
            return await self._score_tokens(request, attempts)
        if not isinstance(request.prompt, str):
            raise self._cannot("give log-probabilities of a chat")
        return await self._score_echo(request.prompt, request.completion, attempts)

    async def _has_tokenize(self, attempts: Attempts) -> bool:
        """Whether the server has vLLM's `/tokenize`; found out once."""
        async with self._probing:
            if self._tokenizes is None:
                try:
                    await attempts.until(partial(self._tokenize, {"prompt": "a"}))
                    self._tokenizes = True
                except (Refused, EngineError):
                    self._tokenizes = False
                except Again as again:
                    if again.failure.reason != "malformed":
                        raise
                    self._tokenizes = False
            return self._tokenizes

    async def _score_tokens(self, request: ScoreRequest, attempts: Attempts) -> Score | Failure:
        alone, together = _before_and_with(request)
        prompt = await attempts.until(partial(self._tokenize, alone))
        whole = await attempts.until(partial(self._tokenize, together))
        first = shared(prompt.tokens, whole.tokens)
        if first == 0 and whole.tokens:
            raise EngineError(
                f"the tokenizer of {self._engine.served_model!r} puts no begin-of-sequence token before a text, so its "
                "first token cannot be scored",
                hint="give a prompt of at least one character",
            )
        found = windows(len(whole.tokens), max(1, first), whole.max_model_len - 1)
        sums = [await self._window(whole.tokens, window, attempts) for window in found]
        return Score(logprob=math.fsum(sums), tokens=max(0, len(whole.tokens) - first))

    async def _window(self, tokens: list[int], window: Window, attempts: Attempts) -> float:
        ids = tokens[window.begin : window.end]
        body = {"model": self._engine.served_model, "prompt": ids, "max_tokens": 1, "prompt_logprobs": 0}
        reply = await attempts.until(partial(self._post, "/completions", to_json(body), CompletionReply))
        choice = reply.choices[0]
        given = choice.prompt_logprobs or []
        scored = range(window.first - window.begin, len(ids))
        found = [position.get(ids[at]) for at in scored if at < len(given) and (position := given[at])]
        logprobs = [token.logprob for token in found if token]
        if len(logprobs) != len(scored):
            raise self._cannot("give `prompt_logprobs`")
        return math.fsum(logprobs)

    async def _score_echo(self, prompt: str, completion: str, attempts: Attempts) -> Score | Failure:
        text = prompt + completion
        if not completion:
            return Score(logprob=0.0, tokens=0)
        asked = {"prompt": text, "max_tokens": 1, "echo": True, "logprobs": 1, "temperature": 0}
        body = {"model": self._engine.served_model, **asked}
        reply = await attempts.until(partial(self._post, "/completions", to_json(body), CompletionReply))
        choice = reply.choices[0]
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

    async def _tokenize(self, body: dict[str, Any]) -> TokenizeReply:
        asked = to_json({"model": self._engine.served_model, **body})
        return await self._post("/tokenize", asked, TokenizeReply, base=self._base.removesuffix("/v1"))

    def _cannot(self, what: str) -> EngineError:
        return EngineError(
            f"the server at {self._engine.base_url!r} does not {what}",
            hint="score with the 'transformers' or 'vllm' engine, or with vLLM's own server",
        )

    async def _post[B: BaseModel](self, path: str, body: bytes, kind: type[B], *, base: str | None = None) -> B:
        """One attempt.

        Raises:
            Again: Another attempt may fare better.
            Refused: Another attempt of this request will not.
            EngineError: Nor will any other request.
        """
        try:
            reply = await self._wire.post((base or self._base) + path, body)
        except Unanswered as error:
            raise _unanswered(error) from error
        return self._read(path, reply, kind)

    def _read[B: BaseModel](self, path: str, reply: Reply, kind: type[B]) -> B:
        if not reply.is_good:
            raise self._judged(reply)
        try:
            return kind.model_validate_json(reply.content)
        except ValidationError as error:
            raise _malformed(path, error) from error

    def _judged(self, reply: Reply) -> Exception:
        problem, status = _problem(reply.content), reply.status
        detail = f"status {status}: {problem.message}"
        if (status in _AGAIN or status >= 500) and not problem.is_quota:
            return Again(Failure(reason="exhausted", detail=detail), after=retry_after(reply.headers))
        if status in (400, 413, 422):
            return Refused(Failure(reason="too_long" if problem.is_length else "rejected", detail=detail))
        return EngineError(
            f"the server at {self._engine.base_url!r} does not serve {self._engine.served_model!r} to us: {detail}",
            hint=f"see `base_url`, `served_model` and the key in ${self._engine.api_key_variable}",
        )


def _endpoint(request: Request) -> tuple[str, type[ChatReply] | type[CompletionReply]]:
    if isinstance(request.prompt, str):
        return "/completions", CompletionReply
    return "/chat/completions", ChatReply


def _malformed(path: str, error: ValidationError) -> Again:
    first = error.errors()[0]
    where = ".".join(str(step) for step in first["loc"]) or "the reply"
    return Again(Failure(reason="malformed", detail=f"{where} of {path!r}: {first['msg']}"))


def _unanswered(error: Unanswered) -> Again:
    return Again(Failure(reason="exhausted", detail=error.detail), unreachable=not error.slow)


def _turns(prompt: Prompt) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in prompt if not isinstance(turn, str)]


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


def _problem(content: bytes) -> Problem:
    said = content.decode(errors="replace")[:_SHOWN_CHARS]
    try:
        body = json.loads(content)
        if isinstance(body, dict) and isinstance(body.get("error"), dict):
            body = body["error"]
        problem = Problem.model_validate(body)
    except ValueError:
        return Problem(message=said)
    return problem if problem.message else problem.model_copy(update={"message": said})
