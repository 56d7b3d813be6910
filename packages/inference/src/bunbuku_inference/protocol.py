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
