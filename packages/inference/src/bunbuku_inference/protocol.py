"""The replies of a server that speaks OpenAI's protocol, as far as they are read.

Field names are the protocol's. `TokenizeReply`, `prompt_logprobs` and prompts as token ids are vLLM's additions to it.
"""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field, NonNegativeInt

from bunbuku_inference.request import Answer, Failure


class Usage(BaseModel):
    prompt_tokens: NonNegativeInt
    completion_tokens: NonNegativeInt = 0


class ChatMessage(BaseModel):
    content: str | None = None


class ChatChoice(BaseModel):
    message: ChatMessage
    finish_reason: str


class ChatReply(BaseModel):
    """Reply of `/v1/chat/completions`."""

    choices: Annotated[list[ChatChoice], Field(min_length=1)]
    usage: Usage

    def outcome(self) -> Answer | Failure:
        return _outcome(self.choices[0].message.content, self.choices[0].finish_reason, self.usage)


class EchoedLogprobs(BaseModel):
    """Log-probabilities of an echoed prompt and what follows it; the first token has none."""

    token_logprobs: list[float | None]
    text_offset: list[NonNegativeInt]


class TokenLogprob(BaseModel):
    logprob: float


class Choice(BaseModel):
    text: str
    finish_reason: str
    logprobs: EchoedLogprobs | None = None
    prompt_logprobs: list[dict[int, TokenLogprob] | None] | None = None


class CompletionReply(BaseModel):
    """Reply of `/v1/completions`."""

    choices: Annotated[list[Choice], Field(min_length=1)]
    usage: Usage

    def outcome(self) -> Answer | Failure:
        return _outcome(self.choices[0].text, self.choices[0].finish_reason, self.usage)


class Delta(BaseModel):
    content: str | None = None


class StreamedChoice(BaseModel):
    text: str | None = None
    delta: Delta = Delta()
    finish_reason: str | None = None


class Event(BaseModel):
    """One event of a streamed reply, of either kind."""

    choices: list[StreamedChoice] = []
    usage: Usage | None = None
    error: "Problem | None" = None


class Streamed:
    """A reply that comes in events."""

    def __init__(self) -> None:
        self.text = ""
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._pieces = 0

    def take(self, line: bytes) -> bool:
        """Whether a line added to the text.

        Raises:
            ValidationError: It is no event of the protocol.
            StreamBroken: The server says that it cannot go on.
        """
        if not line.startswith(b"data:") or (said := line.removeprefix(b"data:").strip()) == b"[DONE]":
            return False
        event = Event.model_validate_json(said)
        if event.error:
            raise StreamBroken(event.error.message or "the server broke off")
        self._usage = event.usage or self._usage
        before = len(self.text)
        for choice in event.choices[:1]:
            self.text += choice.text or choice.delta.content or ""
            self._finish = choice.finish_reason or self._finish
        self._pieces += len(self.text) > before
        return len(self.text) > before

    def outcome(self) -> Answer | Failure:
        """What became of it. A server that does not say what it used is taken to have sent a token an event.

        Raises:
            StreamBroken: It is not at its end.
        """
        if self._finish is None:
            raise StreamBroken("the reply ended in the middle")
        return _outcome(self.text, self._finish, self._usage or Usage(prompt_tokens=0, completion_tokens=self._pieces))


class StreamBroken(Exception):
    """A streamed reply that does not go on."""


class TokenizeReply(BaseModel):
    """Reply of vLLM's `/tokenize`."""

    tokens: list[int]
    max_model_len: int


class Problem(BaseModel):
    """What a server says when it refuses; some put it under `error`, some say it straight out."""

    message: Annotated[str, BeforeValidator(str)] = ""
    code: Annotated[str, BeforeValidator(str)] = ""

    @property
    def is_length(self) -> bool:
        """Whether it refuses because prompt and answer do not fit into the model's context."""
        said = ("context length", "max_model_len")
        return self.code == "context_length_exceeded" or any(words in self.message for words in said)

    @property
    def is_quota(self) -> bool:
        """Whether the account is used up: waiting does not help."""
        return self.code == "insufficient_quota"


def _outcome(text: str | None, finish: str, usage: Usage) -> Answer | Failure:
    if finish not in ("stop", "length"):
        return Failure(reason="rejected", detail=f"the server ended the text for the reason {finish!r}")
    if text is None:
        return Failure(reason="rejected", detail="the server gave a message without text")
    return Answer(
        text=text,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        finish="stop" if finish == "stop" else "length",
    )
