"""One way to ask a language model: transformers in process, vLLM, or any OpenAI-compatible server.

    with open_model(TransformersEngine(), Path("runs/out/tiny/hf"), cache=Path("answers.sqlite")) as model:
        answers = model.generate([Request(prompt="昔々、")])
        scores = model.score([ScoreRequest(completion="昔々、あるところに")])
        print(model.meter)

`request` holds the values, `engine` the engines, `model` what joins an engine to the `cache`, the `meter` and the
`accounts`; `structured` reads replies that are to be JSON; `talker` answers many at once while they listen; `sandbox` runs programs that a model wrote. Each engine
is one edge module (`hf`, `vllm`, `openai`), imported when a model is opened. Importing this package is cheap.
"""

from bunbuku_inference.accounts import Account, Budget, BudgetSpent, Price, Purse, Spending
from bunbuku_inference.engine import AnyEngine, OpenAIEngine, TransformersEngine, VllmEngine
from bunbuku_inference.errors import EngineError, RequestsFailed
from bunbuku_inference.meter import Meter
from bunbuku_inference.model import Model, open_model
from bunbuku_inference.rendering import Spelling
from bunbuku_inference.request import Answer, Failure, Message, Prompt, Request, Sampling, Score, ScoreRequest
from bunbuku_inference.structured import Read, read_json, schema_of
from bunbuku_inference.talker import Asked, Piece, Talker

__all__ = [
    "Account",
    "Answer",
    "AnyEngine",
    "Asked",
    "Budget",
    "BudgetSpent",
    "EngineError",
    "Failure",
    "Message",
    "Meter",
    "Model",
    "OpenAIEngine",
    "Piece",
    "Price",
    "Prompt",
    "Purse",
    "Read",
    "Request",
    "RequestsFailed",
    "Sampling",
    "Score",
    "ScoreRequest",
    "Spelling",
    "Spending",
    "Talker",
    "TransformersEngine",
    "VllmEngine",
    "open_model",
    "read_json",
    "schema_of",
]
