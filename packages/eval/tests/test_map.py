"""The map: what is asked and what is trained on, in one picture."""

import json
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import BunbukuError
from bunbuku_eval import GenerateConfig, MapConfig, Prompt, ScoreConfig, generate, map_texts, score
from bunbuku_eval.vectors import nearest, reduced, vectors

TOPICS = ("猫は魚が大好きで、毎日川へ行く", "電車が駅に着くと人が降りて来る", "株の値段が上がり、会社が喜んだ")
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def asked(place, named, talk):
    """Reports of questions and of prompts, one of them hostile."""
    folder = place("data")
    folder.mkdir()
    rows = [
        {
            "q_id": n,
            "question": f"猫は{thing}が好き。なぜ第{n}の猫は？",
            "label": n % 5,
            **{f"choice{at}": thing for at in range(5)},
        }
        for n, thing in enumerate("水米空花本" * 3)
    ]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "jcommonsenseqa-v1.3-valid.jsonl").write_text(text, encoding="utf-8")
    run = talk(lambda prompt, seed: "2")
    config = ScoreConfig.model_validate({"tasks": ["jcommonsenseqa"], "bootstrap_rounds": 20})
    scored = score(place("score"), config, named, folder, run=run)
    prompts = tuple(Prompt(name=f"p{n}", text=f"{topic}。{n}回目。") for n, topic in enumerate(TOPICS))
    prompts = (*prompts, Prompt(name="hostile", text=HOSTILE))
    written = generate(place("generate"), GenerateConfig(prompts=prompts), named, run=run)
    return {"exam": scored, "talk": written}


@pytest.fixture(scope="module")
def votes(place):
    path = place("votes").with_suffix(".csv")
    path.write_text(
        "model_a,model_b,winner,prompt\n" + "".join(f"x,y,a,犬は{thing}が嫌いですか\n" for thing in "水米空花本水"),
        encoding="utf-8",
    )
    return path


def test_one_page_has_benchmarks_an_arenas_prompts_and_training_text(place, asked, held_out, items, votes) -> None:
    config = MapConfig(method="svd", texts=25)
    report = map_texts(place("map"), config, asked, {"text": held_out}, {"taught": items}, votes)
    rows = pq.read_table(report.dir / "items.parquet").to_pylist()
    groups = {(row["kind"], row["group"]) for row in rows}
    assert groups == {
        ("benchmark", "jcommonsenseqa"), ("benchmark", "talk"), ("arena", "arena"), ("training", "text"), ("training", "taught"),
    }  # fmt: skip
    counts = report.manifest.metrics
    assert (counts["texts.benchmark.jcommonsenseqa"], counts["texts.benchmark.talk"]) == (15, 4)
    # A prompt counts once, however many votes it has.
    assert (counts["texts.arena.arena"], counts["texts.training.text"], counts["texts.training.taught"]) == (5, 25, 25)
    assert all(0 <= row["x"] <= 1 and 0 <= row["y"] <= 1 for row in rows)
    assert all((row["likeness"] is None) == (row["kind"] == "training") for row in rows)
    # What every question shares, such as the instruction, is no part of what it is about.
    assert not any("番号だけを出力" in row["text"] for row in rows)
    page = (report.dir / "index.html").read_text(encoding="utf-8")
    assert page.count("<script") == 2
    assert not re.search(r"""(?:src|href)=["']?https?:""", page)
    assert HOSTILE not in page


@pytest.mark.long  # numba compiles for twenty seconds
@pytest.mark.timeout(600)
def test_near_on_the_map_are_texts_about_the_same() -> None:
    pytest.importorskip("umap")
    from bunbuku_eval.umap_layout import laid_out

    texts = [f"{topic}。{'あいうえお'[n % 5]}{n}" for topic in TOPICS for n in range(30)]
    places = laid_out(reduced(vectors(texts), dimensions=10, seed=0), neighbours=10, spread=0.1, seed=0)
    middles = places.reshape(3, 30, 2).mean(axis=1)
    within = max(np.linalg.norm(places[30 * at : 30 * at + 30] - middles[at], axis=1).max() for at in range(3))
    between = min(np.linalg.norm(middles[one] - middles[other]) for one, other in ((0, 1), (0, 2), (1, 2)))
    assert within < between


def test_the_nearest_training_text_is_the_one_that_was_copied() -> None:
    trained = [f"{topic}。第{n}話" for topic in TOPICS for n in range(5)]
    asked = ["株の値段が上がり、会社が喜んだ。第3話", "猫は魚が大好きで、毎日川へ行く"]
    both = vectors([*asked, *trained])
    places, cosines = nearest(both[:2], both[2:])
    assert trained[places[0]] == asked[0]
    assert cosines[0] == pytest.approx(1)
    assert trained[places[1]].startswith("猫")
    assert 0.3 < cosines[1] < 1


def test_vectors_do_not_depend_on_width_or_case_and_the_empty_text_is_far_from_all() -> None:
    both = vectors(["ＡＢＣ とは", "abcとは", ""])
    likeness = (both @ both.T).toarray()
    assert likeness[0, 1] == pytest.approx(1)
    assert likeness[2].tolist() == [0, 0, 0]


def test_too_little_for_a_map_is_one_sentence(place, votes) -> None:
    with pytest.raises(BunbukuError, match="there are 5 texts, and a map needs 10"):
        map_texts(place("map"), MapConfig(method="svd"), votes=votes)


@pytest.mark.chromium
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs headless Chromium")
def test_a_browser_draws_the_map_and_runs_nothing_of_the_texts(place, asked, held_out, votes) -> None:
    report = map_texts(place("map"), MapConfig(method="svd", texts=25), asked, {"text": held_out}, votes=votes)
    texts = pq.read_table(report.dir / "items.parquet")["text"].to_pylist()
    playwright = pytest.importorskip("playwright.sync_api")
    wrong: list[str] = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.on("console", lambda said: wrong.append(said.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"file://{report.dir / 'index.html'}")
        assert page.inner_text("#count") == "49 of 49 texts"
        assert page.title() == "What is asked and what is trained on"
        assert page.locator("input[type=checkbox]").count() == 4
        page.fill("input[type=search]", "犬")
        assert page.inner_text("#count") == f"49 of 49 texts, {sum('犬' in text for text in texts)} with the words"
        page.locator("input[type=checkbox]").first.uncheck()
        assert page.inner_text("#count").startswith("34 of 49 texts")
        page.focus("#map")
        page.keyboard.press("ArrowRight")
        # The first point that is shown, read beside the map.
        assert next(text for text in texts[15:]) in page.inner_text("#told")
        before = page.locator("#map").screenshot()
        page.keyboard.press("+")
        closer = page.locator("#map").screenshot()
        page.keyboard.press("0")
        assert closer != before == page.locator("#map").screenshot()
        browser.close()
    assert wrong == []
