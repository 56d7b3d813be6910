"""The transformers engine on a tiny random model, against sums done by hand."""

import math
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from bunbuku_inference import (
    Answer,
    EngineError,
    Failure,
    Message,
    Model,
    Request,
    RequestsFailed,
    Sampling,
    Score,
    ScoreRequest,
    TransformersEngine,
    open_model,
)

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ENGINE = TransformersEngine(threads=1, device="cpu")
CONTEXT = 96
"""Of the checkpoint that the fixture makes."""
PROMPTS = ["昔々、", "茶釜は火にかけられると、熱がって", "The kettle", "狸", "", "おばあさんは川へ"]


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Iterator[Model]:
    with open_model(ENGINE, checkpoint) as model:
        yield model


class Reference:
    """The same checkpoint, asked in the plainest way: one text at a time, the whole forward pass for each token."""

    def __init__(self, checkpoint: Path) -> None:
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()

    def logprobs(self, ids: list[int]) -> Any:
        with torch.inference_mode():
            return self.model(torch.tensor([ids])).logits[0].log_softmax(-1)

    def greedy(self, prompt: str, tokens: int) -> list[int]:
        ids = self.tokenizer(prompt).input_ids
        written: list[int] = []
        while len(written) < tokens and (not written or written[-1] != 2):
            written.append(int(self.logprobs(ids + written)[-1].argmax()))
        return written


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Reference:
    return Reference(checkpoint)


def requests(temperature: float, **sampling: object) -> list[Request]:
    settings = Sampling.model_validate({"temperature": temperature, "max_tokens": 12, **sampling})
    return [Request(prompt=prompt, sampling=settings, seed=at) for at, prompt in enumerate(PROMPTS)]


def test_greedy_text_is_the_likeliest_token_each_time(model: Model, reference: Reference) -> None:
    for prompt, answer in zip(PROMPTS, model.generate(requests(0)), strict=True):
        written = reference.greedy(prompt, 12)
        assert answer.completion_tokens == len(written)
        assert answer.prompt_tokens == len(reference.tokenizer(prompt).input_ids)
        assert answer.text == reference.tokenizer.decode(written, skip_special_tokens=True)
        assert answer.finish == ("stop" if written[-1] == 2 else "length")


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_an_answer_does_not_depend_on_its_neighbours(checkpoint: Path, temperature: float) -> None:
    asked = requests(temperature, top_p=0.95)
    answers = []
    for batch_size, order in ((1, 1), (4, 1), (6, -1), (3, -1)):
        with open_model(ENGINE.model_copy(update={"batch_size": batch_size}), checkpoint) as model:
            answers.append(model.generate(asked[::order])[::order])
    assert answers[0] == answers[1] == answers[2] == answers[3]


def test_a_seed_decides_what_is_drawn(model: Model) -> None:
    sampling = Sampling(temperature=1.0, max_tokens=8)
    texts = [model.generate([Request(prompt="昔々", sampling=sampling, seed=seed)])[0].text for seed in (1, 2, 1)]
    assert texts[0] == texts[2] != texts[1]


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.6)])
def test_tokens_are_drawn_as_often_as_they_are_likely(
    checkpoint: Path, reference: Reference, temperature: float, top_p: float
) -> None:
    draws = 2000
    sampling = Sampling(temperature=temperature, top_p=top_p, max_tokens=1)
    asked = [Request(prompt="茶釜は", sampling=sampling, seed=seed) for seed in range(draws)]
    with open_model(ENGINE.model_copy(update={"batch_size": 500}), checkpoint) as model:
        seen = Counter(answer.text for answer in model.generate(asked))
    logits = reference.logprobs(reference.tokenizer("茶釜は").input_ids)[-1] / temperature
    ranked, tokens = logits.softmax(-1).sort(descending=True)
    kept = int((ranked.cumsum(-1) < top_p).sum()) + 1 if top_p < 1 else len(ranked)
    expected: Counter[str] = Counter()
    for share, token in zip((ranked[:kept] / ranked[:kept].sum()).tolist(), tokens[:kept].tolist(), strict=True):
        expected[reference.tokenizer.decode([token], skip_special_tokens=True)] += share
    assert set(seen) <= set(expected)
    distance = sum(abs(seen[text] / draws - expected[text]) for text in expected) / 2
    # The mean distance of an honest sample is at most half of sqrt(outcomes / draws).
    assert distance < math.sqrt(len(expected) / draws)


def test_a_stop_string_ends_the_text_and_is_not_in_it(model: Model) -> None:
    free = model.generate([Request(prompt="昔々、", sampling=Sampling(max_tokens=12))])[0]
    stop = free.text[3:5]
    bound = model.generate([Request(prompt="昔々、", sampling=Sampling(max_tokens=12, stop=(stop, "山")))])[0]
    assert bound.text == free.text[: free.text.index(stop)]
    assert (bound.finish, bound.completion_tokens < free.completion_tokens) == ("stop", True)


def test_each_request_of_a_batch_has_its_own_limit(model: Model) -> None:
    asked = [Request(prompt="The kettle", sampling=Sampling(max_tokens=limit)) for limit in (1, 5, 9)]
    answers = model.generate(asked)
    assert [answer.completion_tokens for answer in answers] == [1, 5, 9]
    assert all(longer.text.startswith(shorter.text) for shorter, longer in pairwise(answers))


def test_text_ends_where_the_context_ends(model: Model, reference: Reference) -> None:
    prompt = "a" * (CONTEXT - 4)
    tokens = len(reference.tokenizer(prompt).input_ids)
    answer = model.generate([Request(prompt=prompt, sampling=Sampling(max_tokens=50))])[0]
    assert answer.completion_tokens <= CONTEXT - tokens


def test_a_prompt_that_fills_the_context_fails_alone(model: Model) -> None:
    long, short = Request(prompt="a" * 400), Request(prompt="狸", sampling=Sampling(max_tokens=2))
    outcomes = model.try_generate([long, short])
    assert isinstance(outcomes[0], Failure)
    assert isinstance(outcomes[1], Answer)
    assert (outcomes[0].reason, outcomes[1].completion_tokens) == ("too_long", 2)
    with pytest.raises(RequestsFailed, match=f"1 of 2 requests .*context {CONTEXT}"):
        model.generate([long, short])


def test_a_chat_is_rendered_with_the_model_s_own_template(model: Model, reference: Reference) -> None:
    turns = (Message(role="system", content="短く"), Message(role="user", content="狸とは？"))
    chat = [{"role": turn.role, "content": turn.content} for turn in turns]
    ids = reference.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    rendered = "\n\n### system:\n短く\n\n### user:\n狸とは？\n\n### assistant:\n"
    sampling = Sampling(max_tokens=6)
    asked, plain = model.generate(
        [Request(prompt=turns, sampling=sampling), Request(prompt=rendered, sampling=sampling)]
    )
    assert asked == plain
    assert asked.prompt_tokens == len(ids)
    assert model.score([ScoreRequest(prompt=turns, completion="動物")]) == model.score(
        [ScoreRequest(prompt=rendered, completion="動物")]
    )


def test_a_score_is_the_sum_of_log_softmax(model: Model, reference: Reference) -> None:
    pairs = [("昔々、", "狸のところに、山が"), ("", "昔々、あるところに"), ("The kettle", " danced"), ("狸", "")]
    scores = model.score([ScoreRequest(prompt=prompt, completion=completion) for prompt, completion in pairs])
    for (prompt, completion), score in zip(pairs, scores, strict=True):
        ids = reference.tokenizer(prompt + completion).input_ids
        first = len(reference.tokenizer(prompt).input_ids)
        assert ids[:first] == reference.tokenizer(prompt).input_ids, "the pair is to have a clean seam"
        rows = reference.logprobs(ids)
        assert score.tokens == len(ids) - first
        assert score.logprob == pytest.approx(
            sum(float(rows[at - 1, ids[at]]) for at in range(first, len(ids))), abs=1e-4
        )


def test_tokens_across_the_seam_count_as_completion(model: Model, reference: Reference) -> None:
    # The tokenizer writes these two characters as one token, which no token of the prompt alone is.
    whole = reference.tokenizer("おじい").input_ids
    alone = reference.tokenizer("おじ").input_ids
    assert whole[: len(alone)] != alone
    score = model.score([ScoreRequest(prompt="おじ", completion="い")])[0]
    shared = next(at for at, (a, b) in enumerate(zip(whole, alone, strict=False)) if a != b)
    rows = reference.logprobs(whole)
    assert score.tokens == len(whole) - shared
    assert score.logprob == pytest.approx(
        sum(float(rows[at - 1, whole[at]]) for at in range(shared, len(whole))), abs=1e-4
    )


def test_a_long_text_is_scored_whole_in_windows(model: Model, reference: Reference) -> None:
    text = "昔々、あるところに、おじいさんとおばあさんがいました。" * 30
    ids = reference.tokenizer(text).input_ids
    context = CONTEXT - 1
    assert len(ids) > 3 * context
    expected = 0.0
    for at in range(1, len(ids)):
        # By hand: the window of a token is the one whose fresh half it falls into.
        end = context if at < context else context + -(-(at + 1 - context) // (context // 2)) * (context // 2)
        end = min(end, len(ids))
        begin = max(0, end - context)
        expected += float(reference.logprobs(ids[begin:at])[-1, ids[at]])
    score = model.score([ScoreRequest(completion=text)])[0]
    assert score.tokens == len(ids) - 1
    assert score.logprob == pytest.approx(expected, abs=1e-2)


def test_scores_do_not_depend_on_the_batch(checkpoint: Path) -> None:
    asked = [
        ScoreRequest(prompt=prompt, completion="おじいさん" * at) for at, prompt in enumerate(PROMPTS * 2, start=1)
    ]
    found: list[list[Score]] = []
    for batch_size, limit in ((1, 8192), (8, 8192), (8, 60)):
        engine = ENGINE.model_copy(update={"batch_size": batch_size, "max_batch_tokens": limit})
        with open_model(engine, checkpoint) as model:
            found.append(model.score(asked))
    for other in found[1:]:
        assert [score.logprob for score in other] == pytest.approx([score.logprob for score in found[0]], abs=1e-4)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no model that transformers can open"):
        open_model(ENGINE, tmp_path)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(EngineError, match="does not open"):
        open_model(ENGINE, tmp_path)
    with pytest.raises(EngineError, match="needs weights"):
        open_model(ENGINE, None)


def test_a_chat_without_a_template_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    for file in checkpoint.iterdir():
        if file.name != "chat_template.jinja":
            (tmp_path / file.name).symlink_to(file)
    with open_model(ENGINE, tmp_path) as model, pytest.raises(EngineError, match="no chat template"):
        model.generate([Request(prompt=(Message(role="user", content="狸"),))])
