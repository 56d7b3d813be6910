"""Text told while it is written."""

from pathlib import Path

from bunbuku_inference import Answer, Message, Request, Sampling, TransformersEngine, open_model


def test_what_is_told_grows_into_the_answer_that_is_given(checkpoint: Path) -> None:
    requests = [
        Request(
            prompt=(Message(role="user", content=text),), sampling=Sampling(max_tokens=limit, temperature=1.0), seed=3
        )
        for text, limit in (("狸", 9), ("お茶", 5))
    ]
    told: dict[int, list[str]] = {0: [], 1: []}
    with open_model(TransformersEngine(device="cpu", threads=1), checkpoint) as model:
        streamed = model.stream(requests, lambda index, text: told[index].append(text))
        assert streamed == model.generate(requests)
    for index, answer in enumerate(streamed):
        assert isinstance(answer, Answer)
        assert told[index][-1] == answer.text
        assert len(told[index]) == answer.completion_tokens
        assert all(answer.text.startswith(text) for text in told[index])
