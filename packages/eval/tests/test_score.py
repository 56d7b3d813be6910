"""Scoring: models whose worth is known get it, and everything is there to look at afterwards."""

import json
import math
import re
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import BunbukuError, Config, Draft, Report, load, read_sections, stage
from bunbuku_eval import CompareConfig, ScoreConfig, compare, hub, score
from bunbuku_inference import TransformersEngine

WORDS = ("本", "靴", "皿", "机", "鍵")


@pytest.fixture
def data(tmp_path):
    """A folder with twenty questions of JCommonsenseQA's shape, ten sentence pairs, and ten sums."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [
        {"q_id": n, "question": f"第{n}問", "label": n % 5, **{f"choice{at}": word for at, word in enumerate(WORDS)}}
        for n in range(20)
    ]
    pairs = [
        {"sentence_pair_id": f"p{n}", "sentence1": f"文{n}", "sentence2": f"句{n}", "label": n / 2} for n in range(10)
    ]
    sums = [{"idx": n, "question": f"問題：{n}足す2は？\n解答：", "answer": str(n + 2)} for n in range(10)]
    for name, of in (
        ("jcommonsenseqa-v1.3-valid.jsonl", rows),
        ("jsts-v1.3-valid.json", pairs),
        ("mawps_test.json", sums),
    ):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in of)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def knowing(prompt: str) -> str:
    """The right answer to a question of `data`."""
    asked = prompt.rpartition("### 入力:")[2]
    if found := re.search(r"第(\d+)問", asked):
        return str(int(found[1]) % 5)
    if found := re.search(r"句(\d+)", asked):
        return str(int(found[1]) / 2)
    found = re.search(r"(\d+)足す", asked)
    assert found is not None
    return str(int(found[1]) + 2)


def chatty(prompt: str, seed: int) -> str:
    right = knowing(prompt)
    return f"{right}. {WORDS[int(right)]}" if "第" in prompt else f"答えは{right}です。"


def config(**changes) -> ScoreConfig:
    chosen = {"tasks": ["jcommonsenseqa", "jsts", "mawps"], "styles": ["chat"], "bootstrap_rounds": 200}
    return ScoreConfig.model_validate(chosen | changes)


def rows(report) -> list[dict]:
    return pq.read_table(report.dir / "items.parquet").to_pylist()


@pytest.fixture
def scored(place, models, data, talk):
    """The report of a model that answers by a function."""

    def run(says, *, name="model", **changes):
        return score(place("score"), config(**changes), {name: models["first"]}, data, run=talk(says))

    return run


def test_who_knows_all_and_ignores_forms_has_lenient_one_and_strict_nought(scored) -> None:
    metrics = scored(chatty).manifest.metrics
    for task in ("jcommonsenseqa", "mawps"):
        way = f"model.{task}.generation.chat"
        found = [metrics[f"{measure}.{way}"] for measure in ("strict", "lenient", "format_ok", "degenerate", "parity")]
        assert found == [0, 1, 0, 0, 0]
    assert metrics["lenient.model.jsts.generation.chat"] == pytest.approx(1)
    # Every strict value is unreadable, so that nothing varies: a correlation of that is undefined, and not 0.
    assert "strict.model.jsts.generation.chat" not in metrics


def test_who_knows_all_and_keeps_to_forms_has_one_everywhere(scored) -> None:
    metrics = scored(lambda prompt, seed: knowing(prompt)).manifest.metrics
    for task in ("jcommonsenseqa", "jsts", "mawps"):
        assert metrics[f"strict.model.{task}.generation.chat"] == pytest.approx(1)
        assert metrics[f"format_ok.model.{task}.generation.chat"] == 1


def test_who_only_knows_the_form_has_format_ok_one_and_the_accuracy_of_chance(scored) -> None:
    metrics = scored(lambda prompt, seed: "2", tasks=["jcommonsenseqa"]).manifest.metrics
    way = "model.jcommonsenseqa.generation.chat"
    assert metrics[f"format_ok.{way}"] == 1
    assert metrics[f"strict.{way}"] == metrics[f"lenient.{way}"] == 0.2
    assert metrics[f"lenient.{way}.low"] < 0.2 < metrics[f"lenient.{way}.high"]


def test_gibberish_is_flagged_and_worth_nothing(scored) -> None:
    report = scored(lambda prompt, seed: "2とても" * 20, tasks=["jcommonsenseqa"])
    assert report.manifest.metrics["degenerate.model.jcommonsenseqa.generation.chat"] == 1
    assert report.manifest.metrics["lenient.model.jcommonsenseqa.generation.chat"] == 0
    assert {tuple(row["flags"]) for row in rows(report)} == {("loop",)}


def test_a_model_that_says_nothing_is_flagged_as_empty(scored) -> None:
    report = scored(lambda prompt, seed: "", tasks=["mawps"])
    assert {tuple(row["flags"]) for row in rows(report)} == {("empty",)}


def test_what_did_not_come_back_is_marked_and_the_rest_is_kept(scored) -> None:
    def says(prompt: str, seed: int) -> str | int:
        return 400 if "第3問" in prompt else knowing(prompt)

    report = scored(says, tasks=["jcommonsenseqa"])
    metrics = report.manifest.metrics
    assert metrics["failed.model"] == 3  # a question in three phrasings
    assert metrics["strict.model.jcommonsenseqa.generation.chat"] == 1
    (incomplete,) = [text for text in read_sections(report)[0].paragraphs if text.startswith("Incomplete")]
    assert "3 of 60" in incomplete
    assert all("out of order" in row["failure"] for row in rows(report) if row["strict"] is None)


def test_if_nothing_comes_back_it_is_one_sentence(scored) -> None:
    with pytest.raises(BunbukuError, match=r"none of 60 answers came back, the first for this reason: .*out of order"):
        scored(lambda prompt, seed: 400, tasks=["jcommonsenseqa"])


def test_identical_questions_get_identical_scores_and_the_log_has_what_made_them(scored) -> None:
    one, other = scored(chatty), scored(chatty)
    drop = ("seconds",)
    assert [{k: v for k, v in row.items() if k not in drop} for row in rows(one)] == [
        {k: v for k, v in row.items() if k not in drop} for row in rows(other)
    ]
    assert one.manifest.metrics == other.manifest.metrics
    row = rows(one)[0]
    assert row["prompt"].startswith("[user]\n質問に対する答えを")
    assert (row["model"], row["style"], row["phrasing"], row["seed"]) == ("model", "chat", "number", 0)


def test_licence_origin_and_hash_of_the_data_are_recorded(scored, data) -> None:
    import hashlib

    report = scored(chatty)
    table = read_sections(report)[-1].tables[0]
    of = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert of["jsts"]["licence"] == "CC-BY-SA-4.0"
    assert of["jsts"]["sha256"] == hashlib.sha256((data / "jsts-v1.3-valid.json").read_bytes()).hexdigest()
    assert {"Apache-2.0", "CC-BY-SA-4.0"} <= set(report.spec.licences)


def test_spread_over_phrasings_is_the_range_of_the_lenient_score(scored) -> None:
    report = scored(
        lambda prompt, seed: knowing(prompt) if "番号で答えよ" in prompt else "さあ", tasks=["jcommonsenseqa"]
    )
    (row,) = read_sections(report)[1].tables[0].rows
    assert (row[4], row[6]) == (3, 1)
    # All questions move alike, so that whichever are drawn, the range is the same.
    assert row[5] == "1.000 (1.000 to 1.000)"
    assert row[7] == "0.000 (0.000 to 0.000)"
    assert report.manifest.metrics["lenient.model.jcommonsenseqa.generation.chat"] == pytest.approx(1 / 3)


def test_seeds_change_the_worked_examples_and_their_spread_is_told(scored) -> None:
    report = scored(
        lambda prompt, seed: knowing(prompt),
        tasks=[{"type": "jcommonsenseqa", "shots": 2}],
        styles=["plain"],
        seeds=[0, 1],
        items=5,
    )
    prompts = {row["seed"]: row["prompt"] for row in rows(report) if row["id"] == rows(report)[0]["id"]}
    assert prompts[0] != prompts[1]
    assert all(prompt.count("### 応答:") == 3 for prompt in prompts.values())


def test_models_are_compared_in_pairs_and_flips_are_named(place, scored) -> None:
    better = scored(lambda prompt, seed: knowing(prompt), tasks=["jcommonsenseqa"])
    worse = scored(lambda p, s: "わからない" if "第7問" in p else knowing(p), tasks=["jcommonsenseqa"])
    both = compare(place("compare"), CompareConfig(), {"better": better, "worse": worse})
    table = next(one for one in read_sections(both) if one.title == "Models on the same questions").tables[0]
    (row,) = table.rows
    assert row[:2] == ("better", "worse")
    assert str(row[5]).startswith("0.050 (0.000 to")
    assert row[6:8] == (1, 0)
    assert {row["id"] for row in rows(both) if row["flipped"]} == {"7"}
    same = compare(place("compare"), CompareConfig(), {"better": better, "worse": worse})
    assert same.content == both.content


def test_reports_on_other_data_are_not_compared(place, scored, data) -> None:
    one = scored(lambda prompt, seed: knowing(prompt), tasks=["mawps"])
    (data / "mawps_test.json").write_text('{"idx": 1, "question": "1足す2は？", "answer": "3"}', encoding="utf-8")
    other = scored(lambda prompt, seed: knowing(prompt), tasks=["mawps"])
    with pytest.raises(BunbukuError, match=r"'mawps' of .* was read from another file than before"):
        compare(place("compare"), CompareConfig(), {"one": one, "other": other})


class Audited(Config):
    ids: tuple[str, ...]
    bad: tuple[str, ...]
    unjudged: tuple[str, ...] = ()


@stage("corpus.contamination")
def audit(draft: Draft, config: Audited) -> Report:
    found = [
        {"id": id, "method": "not judged" if id in config.unjudged else "ngrams", "contaminated": id in config.bad}
        for id in config.ids
    ]
    pq.write_table(pa.Table.from_pylist(found), draft.dir / "items.parquet")
    return Report(title="audit")


@pytest.mark.parametrize("by_line", [False, True])
def test_scores_are_given_without_contaminated_items_too(place, models, data, talk, by_line) -> None:
    # The model knows what stood in its corpus, questions 0 to 4, and nothing else.
    def says(prompt: str, seed: int) -> str:
        found = re.search(r"第(\d+)問", prompt)
        return knowing(prompt) if found and int(found[1]) < 5 else "さあ"

    first = 1 if by_line else 0
    report = audit(
        place("audit"),
        Audited(ids=tuple(str(n + first) for n in range(20)), bad=tuple(str(n + first) for n in range(5))),
    )
    found = score(
        place("score"), config(tasks=["jcommonsenseqa"]), {"m": models["first"]}, data,
        {"jcommonsenseqa": report}, run=talk(says),
    )  # fmt: skip
    section = next(one for one in read_sections(found) if one.title == "Without contaminated items")
    (row,) = section.tables[0].rows
    assert row[4:7] == (5, 0, 20)
    assert [str(cell)[:5] for cell in row[7:]] == ["0.250", "1.000", "0.000"]


def test_what_an_audit_could_not_judge_is_not_clean(place, models, data, talk) -> None:
    # Questions 0 to 4 stand in the corpus, 5 to 9 could not be judged; the model knows just these ten.
    def says(prompt: str, seed: int) -> str:
        found = re.search(r"第(\d+)問", prompt)
        return knowing(prompt) if found and int(found[1]) < 10 else "さあ"

    ids = tuple(str(n) for n in range(20))
    report = audit(place("audit"), Audited(ids=ids, bad=ids[:5], unjudged=ids[5:10]))
    found = score(
        place("score"), config(tasks=["jcommonsenseqa"]), {"m": models["first"]}, data,
        {"jcommonsenseqa": report}, run=talk(says),
    )  # fmt: skip
    section = next(one for one in read_sections(found) if one.title == "Without contaminated items")
    (row,) = section.tables[0].rows
    assert row[4:7] == (5, 5, 20)
    assert [str(cell)[:5] for cell in row[7:]] == ["0.500", "1.000", "0.000"]


def test_an_audit_of_other_items_or_of_no_task_is_one_sentence(place, models, data, talk) -> None:
    report = audit(place("audit"), Audited(ids=("x1", "x2"), bad=()))
    args = (config(tasks=["jcommonsenseqa"]), {"m": models["first"]}, data)
    with pytest.raises(BunbukuError, match=r"no item of .* is one of the task 'jcommonsenseqa'"):
        score(place("score"), *args, {"jcommonsenseqa": report}, run=talk(chatty))
    with pytest.raises(BunbukuError, match="--contamination names 'jnli'"):
        score(place("score"), *args, {"jnli": report}, run=talk(chatty))


def test_likelihood_and_both_styles_with_a_real_model(place, models, data) -> None:
    from bunbuku_eval import EvalRun

    run = EvalRun(engine=TransformersEngine(threads=1, device="cpu"))
    chosen = config(
        tasks=["jcommonsenseqa"], modes=["likelihood", "generation"], styles=["plain", "chat"], items=4, seeds=[0]
    )
    report = score(place("score"), chosen, dict(models), data, run=run)
    found = rows(report)
    assert len(found) == 2 * 2 * 2 * 3 * 4
    assert all(row["output"] in "01234" for row in found if row["mode"] == "likelihood")
    for model in models:
        for style in ("plain", "chat"):
            assert f"lenient.{model}.jcommonsenseqa.likelihood.{style}" in report.manifest.metrics
    assert load(report.dir, Report).spec.page == "items.html"


def test_three_categories_make_a_radar(scored) -> None:
    report = scored(chatty)
    (picture,) = read_sections(report)[0].pictures
    text = (report.dir / picture.path).read_text()
    assert "undefined" not in text
    assert all(name in text for name in ("commonsense", "similarity", "arithmetic", "model"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tasks": ["mawps", "mawps"]}, "have a name twice: mawps, mawps"),
        ({"seeds": [0, 1]}, "would all give the same"),
        ({"tasks": []}, "at least 1 item"),
    ],
)
def test_a_config_that_cannot_be_meant_is_refused(changes, said) -> None:
    with pytest.raises(ValueError, match=said):
        config(**changes)


def test_files_outside_the_folder_or_not_there_are_refused(place, models, data, talk) -> None:
    for file, said in (("../secret.jsonl", "is outside the folder"), ("none.jsonl", "is not there")):
        chosen = config(tasks=[{"type": "mawps", "file": file}])
        with pytest.raises(BunbukuError, match=said):
            score(place("score"), chosen, {"m": models["first"]}, data, run=talk(chatty))
    with pytest.raises(BunbukuError, match="no folder was given"):
        score(place("score"), config(), {"m": models["first"]}, run=talk(chatty))


def test_a_link_in_the_folder_is_read_as_the_hubs_cache_has_them(tmp_path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "1f").write_text("{}\n", encoding="utf-8")
    folder = tmp_path / "snapshots"
    folder.mkdir()
    (folder / "mawps.jsonl").symlink_to("../blobs/1f")
    assert hub.inside(folder, "mawps.jsonl").read_text(encoding="utf-8") == "{}\n"
    assert hub.inside(folder, "some/../mawps.jsonl") == folder / "mawps.jsonl"
    for outside in ("../blobs/1f", "some/../../blobs/1f", str(tmp_path / "blobs" / "1f")):
        with pytest.raises(BunbukuError, match="is outside the folder"):
            hub.inside(folder, outside)


def test_a_file_of_the_hub_is_pinned_to_a_commit() -> None:
    hub = {"repository": "some/where", "revision": "main", "file": "a.jsonl"}
    with pytest.raises(ValueError, match="revision"):
        config(tasks=[{"type": "mawps", "hub": hub}])


def test_intervals_of_a_mean_cover_it_as_often_as_they_say() -> None:
    import numpy as np
    from bunbuku_eval.answers import Answered, Condition, Marks
    from bunbuku_eval.estimates import Grid, estimate
    from bunbuku_eval.tasks import Question

    random, inside = np.random.default_rng(0), 0
    for trial in range(200):
        found = [
            Answered(
                Condition("m", "t", "generation", "chat", "p", 0), Question(str(n), {}, ("1",)), "", 0, "",
                Marks(value, value, True, (), None, value),
            )
            for n, value in enumerate((random.random(80) < 0.6).astype(float))
        ]  # fmt: skip
        _, low, high = estimate(Grid.of(found), "lenient", rounds=200, seed=trial)
        inside += low <= 0.6 <= high
    assert 0.89 <= inside / 200 <= 0.99


def test_a_correlation_of_one_answer_is_undefined() -> None:
    from bunbuku_eval.estimates import Grid, estimate

    mark = SimpleNamespace(strict_value=1.0, lenient_value=1.0)
    way = SimpleNamespace(phrasing="p", seed=0)
    one = SimpleNamespace(marks=mark, condition=way, question=SimpleNamespace(id="1", gold=("2",)))
    grid = Grid(("1",), (way,), ((one,),), metric="pearson")  # pyright: ignore[reportArgumentType]
    assert math.isnan(estimate(grid, "lenient", rounds=10, seed=0).value)
