"""The same prompts to every model: all of them, as they came, with their flags."""

import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import read_sections
from bunbuku_eval import GenerateConfig, Prompt, generate
from bunbuku_eval.degenerate import flags, repetition
from bunbuku_eval.run import EvalRun
from bunbuku_inference import Sampling, TransformersEngine
from hypothesis import given
from hypothesis import strategies as st

ON_ONE_THREAD = EvalRun(engine=TransformersEngine(threads=1, device="cpu"))
PROMPTS = (Prompt(name="cat", text="猫は"), Prompt(name="ask", style="chat", text="水が好き"))


@pytest.fixture(scope="module")
def written(place, models):
    config = GenerateConfig(prompts=PROMPTS, sampling=Sampling(max_tokens=8))
    return generate(place("generate"), config, models, run=ON_ONE_THREAD)


def test_every_model_answers_every_prompt(written) -> None:
    rows = pq.read_table(written.dir / "items.parquet").to_pylist()
    assert [(row["model"], row["name"]) for row in rows] == [
        (model, prompt) for model in ("first", "second") for prompt in ("cat", "ask")
    ]
    assert [row["tokens_seen"] for row in rows] == [100, 100, 200, 200]
    assert all(row["tokens"] <= 8 for row in rows)


def test_the_greedy_text_is_the_models_own(make, written, models, tokenizer) -> None:
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(models["first"].dir).eval()
    line = torch.tensor([make.ids(tokenizer, "猫は")])
    out = model.generate(line, do_sample=False, max_new_tokens=8)[0, 2:]  # pyright: ignore[reportAttributeAccessIssue]
    text = AutoTokenizer.from_pretrained(models["first"].dir).decode(out, skip_special_tokens=True)
    row = pq.read_table(written.dir / "items.parquet").to_pylist()[0]
    assert row["text"] == text


def test_the_tables_lay_the_models_side_by_side(written) -> None:
    (section,) = read_sections(written)
    assert [table.caption for table in section.tables[1:]] == ["plain: 猫は", "chat: 水が好き"]
    assert [row[0] for row in section.tables[1].rows] == ["first", "second"]


def test_samples_differ_by_seed_and_are_all_shown(place, models) -> None:
    config = GenerateConfig(prompts=PROMPTS[:1], samples=3, sampling=Sampling(max_tokens=12, temperature=1.0))
    rows = pq.read_table(
        generate(place("sampled"), config, {"first": models["first"]}, run=ON_ONE_THREAD).dir / "items.parquet"
    ).to_pylist()
    assert len(rows) == 3
    assert len({row["text"] for row in rows}) > 1


def test_samples_that_would_all_be_equal_are_refused() -> None:
    with pytest.raises(ValueError, match="would all be the same"):
        GenerateConfig(samples=2)


def test_a_prompt_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="name twice"):
        GenerateConfig(prompts=(PROMPTS[0], PROMPTS[0]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("empty",)),
        (" 、、\n", ("empty",)),
        ("はいはいはいはいはいはいはいはいはいはいはいはい", ("loop",)),
        ("The cat sat on the mat and looked at us.", ("not_japanese",)),
        ("今日はとても寒いので、家で本を読みました。", ()),
        ("7", ()),
    ],
)
def test_flags_tell_gibberish_from_prose(text, expected) -> None:
    assert flags(text) == expected


@given(st.text(min_size=0, max_size=60))
def test_repetition_is_a_share_and_grows_when_a_text_is_doubled(text) -> None:
    assert 0 <= repetition(text) < 1
    if len(text) >= 4:
        assert repetition(text + text) >= repetition(text)
