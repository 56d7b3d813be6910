import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, ArtifactError, BunbukuError, Corpus
from bunbuku_synth import GenerateConfig, generate, read_items
from bunbuku_synth.cli import main
from bunbuku_synth.contrasts import ArithmeticContrast, ClozeContrast, MultipleChoiceContrast, TranslateContrast
from bunbuku_synth.language import content, normalized
from bunbuku_synth.numerals import numbers
from bunbuku_synth.tasks import Arithmetic, Cloze, MultipleChoice, Translate
from bunbuku_synth.tasks.arithmetic import Problem
from hypothesis import given
from hypothesis import strategies as st

TASKS = (
    Translate(count=60),
    Cloze(count=60),
    Cloze(count=10, hint="before"),
    MultipleChoice(count=60, questions=("word", "japanese", "english", "mentioned")),
    Arithmetic(count=60),
)
SMALL_SUMS = Arithmetic(count=1, max_sum=30, max_factor=7)
CONTRASTS = {
    contrast.type: contrast
    for contrast in (TranslateContrast(), ClozeContrast(), MultipleChoiceContrast(), ArithmeticContrast())
}


def test_items_that_ask_what_another_asks_are_in_dropped(tmp_path: Path, corpus):
    """S3."""
    made = generate(tmp_path / "out", GenerateConfig(tasks=(Arithmetic(count=5), Arithmetic(count=5))), corpus)
    rows = [row for file in made.files("dropped") for row in pq.read_table(made.path(file)).to_pylist()]
    assert [row["reason"] for row in rows] == ["duplicate"] * 5
    assert made.manifest.metrics["rejected.arithmetic.duplicate"] == 5


def test_every_task_makes_what_was_asked_and_no_question_twice(make):
    items = make(TASKS)
    assert Counter(item.task for item in items) == {
        "translate": 60,
        "cloze": 70,
        "multiple_choice": 60,
        "arithmetic": 60,
    }
    assert len({item.id for item in items}) == len(items)
    assert len({normalized(item.prompt[0].content) for item in items}) == len(items)
    assert [item.id for item in items] == sorted(item.id for item in items)


def test_every_answer_passes_the_checker_of_its_task(make):
    for item in make(TASKS):
        assert CONTRASTS[item.task].verdict(item, item.said) == "right", item


def test_every_item_says_where_it_came_from(make, toy):
    known = {one["id"]: one["text"] for one in (*toy.documents(), *toy.parallel())}
    for item in make(TASKS):
        assert item.licence and item.template.endswith("@1") and item.generator == f"rule:{item.task}"
        assert item.teacher is None
        if item.task == "arithmetic":
            assert item.source is None
            continue
        assert item.source
        id, _, span = item.source.partition("#")
        assert id in known
        if span:
            start, end = map(int, span.split("-"))
            assert 0 <= start < end <= len(known[id])


def test_translations_go_both_ways_and_say_the_pairs_other_side(make, toy):
    sides = {one["id"]: one["text"].split("\n") for one in toy.parallel()}
    items = make([Translate(count=80)])
    assert Counter(item.language for item in items).keys() == {"ja", "en"}
    for item in items:
        assert item.source
        ja, en = sides[item.source]
        asked, answer = (en, ja) if item.language == "ja" else (ja, en)
        assert asked in item.prompt[0].content
        assert item.said.strip("「」") == answer
        assert answer not in item.prompt[0].content


def test_only_one_direction_if_only_one_is_asked(make):
    assert {item.language for item in make([Translate(count=20, into=("en",))])} == {"en"}


def test_a_cloze_filled_in_is_the_sentence_of_the_source(make, toy):
    for item in make([Cloze(count=60)]):
        assert item.source
        sentence = toy.pairs[int(item.source.rpartition("/")[2])][0]
        word = item.said.partition("「")[2].partition("」")[0] or item.said
        assert sentence.replace(word, "＿＿＿") in item.prompt[0].content


def test_a_cloze_with_the_sentence_before_can_be_answered_from_it(make):
    items = make([Cloze(count=10, hint="before")])
    for item in items:
        word = item.said.partition("「")[2].partition("」")[0] or item.said
        assert word in item.prompt[0].content


def test_right_choices_are_spread_evenly_over_the_places(make):
    for count in (40, 41, 43):
        places = Counter(item.answer for item in make([MultipleChoice(count=count)]))
        assert sum(places.values()) == count
        assert max(places.values()) - min(places[place] for place in range(4)) <= 1


def test_the_assistant_says_the_right_choice_word_for_word(make):
    for item in make([MultipleChoice(count=60, choices=3)]):
        assert item.choices is not None and item.answer is not None
        assert len(set(item.choices)) == 3
        assert item.said == item.choices[item.answer]


def test_wrong_words_and_sentences_have_nothing_to_do_with_the_right_one(make, toy):
    templates = [template for template in MultipleChoice(count=1).templates if template.answer_by == "text"]
    items = make([MultipleChoice(count=60, templates=tuple(templates))])
    english_of = dict(toy.pairs)
    japanese_of = {en: ja for ja, en in toy.pairs}
    meanings = toy.meanings
    checked = Counter[str]()
    for item in items:
        assert item.choices is not None and item.answer is not None and item.source
        ja, en = toy.pairs[int(item.source.rpartition("/")[2])]
        for index, text in enumerate(item.choices):
            if index == item.answer:
                continue
            checked[item.template] += 1
            if item.template.startswith("word"):
                assert meanings[text] not in en
            else:
                one = english_of.get(text) or japanese_of[text]
                assert not content(en + ja) & content(one + text)
    assert len(checked) == 4


def test_a_mentioned_word_is_in_the_text_and_the_others_are_not(make):
    templates = [template for template in MultipleChoice(count=1).templates if template.name == "mentioned-text"]
    for item in make([MultipleChoice(count=20, questions=("mentioned",), templates=tuple(templates))]):
        text = item.prompt[0].content.partition("\n")[0]
        assert item.choices is not None
        assert [choice in text for choice in item.choices].count(True) == 1
        assert item.said in text


def test_choices_can_be_asked_for_by_label(make):
    templates = [template for template in MultipleChoice(count=1).templates if template.name == "word-katakana"]
    items = make([MultipleChoice(count=20, questions=("word",), templates=tuple(templates))])
    assert {item.choices for item in items} == {("ア", "イ", "ウ", "エ")}


@given(st.sampled_from(["add", "subtract", "multiply", "divide"]), st.integers(0, 2**63 - 1))
def test_problems_stay_in_range_and_have_whole_positive_answers(operation, seed: int):
    problem = SMALL_SUMS.problem(operation, seed)
    inverse = {
        "add": Problem("subtract", problem.answer, problem.b),
        "subtract": Problem("add", problem.answer, problem.b),
        "multiply": Problem("divide", problem.answer, problem.b),
        "divide": Problem("multiply", problem.answer, problem.b),
    }
    assert inverse[operation].answer == problem.a
    assert 1 <= problem.answer <= 49 and problem.b >= 1


def test_arithmetic_is_right_when_worked_out_again(make):
    for item in make([Arithmetic(count=120)]):
        operation = item.template.partition("-")[0]
        asked = [value for _, _, value in numbers(item.prompt[0].content.replace("一人", ""))]
        ((_, _, answer),) = numbers(item.said)
        assert len(asked) == 2, item
        assert Problem(operation, *asked).answer == answer


def test_no_pair_from_outside_the_corpus_part_is_used(make, toy):
    blocks = {item.source.partition("/")[0].partition("#")[0] for item in make(TASKS) if item.source}
    assert len(blocks) > 50
    assert blocks <= {one["id"] for one in toy.documents(0, 150)}


def test_no_distractor_gives_away_a_pair_from_outside_the_corpus_part(make, toy):
    inside = {side for pair in toy.pairs[: 150 * toy.block] for side in pair}
    outside = {side for pair in toy.pairs[150 * toy.block :] for side in pair} - inside
    text = "\n".join(turn.content for item in make(TASKS) for turn in item.messages)
    assert not any(sentence in text for sentence in outside)


def test_shards_and_their_order_do_not_change_a_byte(tmp_path: Path, toy, corpus, pairs_of_all_blocks):
    config = GenerateConfig(tasks=TASKS)
    first = generate(tmp_path / "first", config, corpus, pairs_of_all_blocks)
    other_corpus = toy.corpus("corpus-2", toy.documents(0, 150)[::-1], shards=4)
    other_pairs = toy.corpus("parallel-2", toy.parallel()[::-1], shards=3)
    second = generate(tmp_path / "second", config, other_corpus, other_pairs)
    assert first.content == second.content


def test_asking_for_more_keeps_what_there_was(make):
    few = {item.id: item for item in make([Translate(count=20), Cloze(count=20)])}
    many = {item.id: item for item in make([Translate(count=40), Cloze(count=40)])}
    assert few.items() <= many.items()


def test_another_seed_makes_other_items(make):
    one, other = make([Translate(count=40)], seed=0), make([Translate(count=40)], seed=1)
    assert not {item.id for item in one} & {item.id for item in other}


def test_rows_are_spread_over_shards(tmp_path: Path, corpus):
    config = GenerateConfig(tasks=(Arithmetic(count=25),), rows_per_shard=10)
    made = generate(tmp_path / "out", config, corpus)
    assert [file.rows for file in made.files()] == [10, 10, 5]
    assert len(list(read_items(made))) == 25


def test_what_is_missing_is_counted_and_said(tmp_path: Path, corpus, caplog):
    config = GenerateConfig(tasks=(Arithmetic(count=500, max_sum=3, max_factor=2),))
    made = generate(tmp_path / "out", config, corpus).manifest.metrics
    assert made["items.arithmetic"] + made["missing.arithmetic"] == 500
    assert made["rejected.arithmetic.duplicate"] > 0
    assert "arithmetic: only" in caplog.text


def test_licences_of_inputs_and_of_the_items_themselves_are_stated(tmp_path: Path, corpus):
    made = generate(tmp_path / "out", GenerateConfig(tasks=(Arithmetic(count=5),)), corpus)
    assert made.spec.licences == ("Apache-2.0", "CC0-1.0")


def test_tasks_made_of_pairs_ask_for_pairs(tmp_path: Path, corpus):
    with pytest.raises(BunbukuError, match="made from pairs of sentences") as error:
        generate(tmp_path / "out", GenerateConfig(tasks=(Translate(count=5),)), corpus)
    assert "--parallel" in error.value.hint


def test_documents_given_as_pairs_are_refused_by_name(tmp_path: Path, corpus: Artifact[Corpus]):
    with pytest.raises(ArtifactError, match=r"document 'toy:0' of .* is not a pair"):
        generate(tmp_path / "out", GenerateConfig(tasks=(Translate(count=5),)), corpus, corpus)


def test_a_corpus_that_gives_nothing_is_an_error(tmp_path: Path, toy):
    english = toy.english("All of this is English.")
    with pytest.raises(BunbukuError, match="none of the 1 tasks made an item"):
        generate(tmp_path / "out", GenerateConfig(tasks=(Cloze(count=5, hint="before"),)), english)


def test_the_command_makes_the_same(tmp_path: Path, corpus, pairs_of_all_blocks, capsys):
    config = tmp_path / "generate.toml"
    config.write_text('[[tasks]]\ntype = "translate"\ncount = 12\n', encoding="utf-8")
    out = tmp_path / "out"
    arguments = ["--corpus", str(corpus.dir), "--parallel", str(pairs_of_all_blocks.dir), "--out", str(out)]
    assert main(["generate", str(config), *arguments]) in (0, None)
    assert capsys.readouterr().out.strip() == str(out)
    direct = generate(tmp_path / "direct", GenerateConfig(tasks=(Translate(count=12),)), corpus, pairs_of_all_blocks)
    assert json.loads((out / "manifest.json").read_text())["files"][0]["sha256"] == direct.manifest.files[0].sha256
