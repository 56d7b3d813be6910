"""Requests as values."""

import pytest
from bunbuku_inference import AnyEngine, Message, Request, Sampling, ScoreRequest, VllmEngine
from pydantic import TypeAdapter, ValidationError


def test_a_request_survives_json_with_its_prompt_as_it_was() -> None:
    for prompt in ("昔々", (Message(role="user", content="狸とは？"),)):
        request = Request(prompt=prompt, sampling=Sampling(stop=("。",)), seed=2**63 - 1)
        assert Request.model_validate_json(request.model_dump_json()) == request
        score = ScoreRequest(prompt=prompt, completion="動物です")
        assert ScoreRequest.model_validate_json(score.model_dump_json()) == score


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt": ()},
        {"prompt": "a", "seed": -1},
        {"prompt": "a", "seed": 2**63},
        {"prompt": "a", "sampling": {"temperature": -0.1}},
        {"prompt": "a", "sampling": {"top_p": 0.0}},
        {"prompt": "a", "sampling": {"stop": ("",)}},
        {"prompt": ({"role": "tool", "content": ""},)},
    ],
)
def test_a_request_no_engine_could_answer_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Request.model_validate(wrong)


def test_an_engine_is_named_by_its_type() -> None:
    assert TypeAdapter(AnyEngine).validate_python({"type": "vllm", "eager": True}) == VllmEngine(eager=True)
    with pytest.raises(ValidationError, match="base_url"):
        TypeAdapter(AnyEngine).validate_python({"type": "openai"})
