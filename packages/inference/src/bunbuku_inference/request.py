"""What a language model is asked and what it says: plain values, the same for every engine.

A `Request` asks for text, a `ScoreRequest` for the log-probability of a given text. Both take either a raw prompt, which the
model sees as it is (with the begin-of-sequence token if its tokenizer adds one), or chat messages, which are rendered
with the chat template that travels in the model's tokenizer. A request holds everything its outcome depends on, so
that its digest can name the outcome in a cache; a seed belongs to the request, not to the run, so that an item's text
does not depend on the items around it.
"""

from typing import Annotated, Literal

from bunbuku_contracts.manifest import Frozen
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

LARGEST_SEED = 2**63 - 1


class Message(Frozen):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


type Prompt = str | Annotated[tuple[Message, ...], Field(min_length=1)]
"""Raw text, or a conversation that the model is to continue with the assistant's next turn."""


class Sampling(Frozen):
    """How the next token is chosen, and when to stop."""

    temperature: NonNegativeFloat = 0.0
    """0 takes the likeliest token each time; the seed then has no effect."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Tokens are drawn from the smallest set of likeliest ones whose probabilities sum to at least this."""
    max_tokens: PositiveInt = 256
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Strings that end the text. The text is given without them."""


class Request(Frozen):
    """Ask for text."""

    prompt: Prompt
    sampling: Sampling = Sampling()
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] = 0
    """Equal requests with equal seeds get equal text from the same model on the same engine."""
    reply_schema: str | None = None
    """JSON Schema, as JSON, that the text is to fit. vLLM and servers that can are held to it token by token; elsewhere
    the prompt has to ask for it, and `read_json` reads and mends what comes."""


class ScoreRequest(Frozen):
    """Ask for log p(completion | prompt).

    The tokens that are summed are those of prompt and completion written as one text, after the longest run of tokens
    that this text shares with the prompt alone. An empty prompt is the begin-of-sequence token.
    """

    prompt: Prompt = ""
    completion: str


class Answer(Frozen):
    """Text a model wrote."""

    text: str
    prompt_tokens: NonNegativeInt
    completion_tokens: NonNegativeInt
    """Tokens the model wrote, an end-of-sequence token and tokens of a stop string included."""
    finish: Literal["stop", "length"]
    """`stop`: the model ended its turn or wrote a stop string; `length`: it ran out of tokens."""


class Score(Frozen):
    """How likely a text is."""

    logprob: float
    """Natural logarithm of the completion's probability: the sum over its tokens."""
    tokens: NonNegativeInt
    """How many tokens were summed."""


class Failure(Frozen):
    """Why one request has no outcome. Never cached: asking again tries again."""

    reason: Literal["too_long", "rejected", "malformed", "exhausted", "dropped"]
    """`too_long`: the prompt leaves no room in the model's context; `rejected`: the server would not take the request;
    `malformed`: its reply could not be read; `exhausted`: every attempt failed; `dropped`: nobody waited any more."""
    detail: str
