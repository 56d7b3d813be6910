import json
import re
from collections import Counter

import pytest
from bunbuku_synth.tasks import Classification, Code, Entailment, Extraction, Logic, Mathematics
from bunbuku_synth.tasks.classification import WORDS
from bunbuku_synth.tasks.forms import FORMS, asking

TASKS = (
    Entailment(count=120),
    Extraction(count=90),
    Classification(count=90),
    Mathematics(count=90),
    Logic(count=30),
    Code(count=6),
)


@pytest.fixture
def items(make):
    return make(TASKS)


def test_each_family_makes_what_was_asked_with_its_whole_lineage(items):
    assert Counter(item.task for item in items) == {task.type: task.count for task in TASKS}
    assert all(item.generator == f"rule:{item.task}" and item.template.endswith("@1") for item in items)
    assert all(item.source is None and item.teacher is None for item in items)


def test_answers_come_in_the_form_that_was_asked_for(items):
    for item in items:
        if item.task not in ("entailment", "classification"):
            continue
        asked = item.prompt[0].content
        if "JSON" in asked:
            assert set(json.loads(item.said)) == {"answer"}
        elif "半角数字" in asked:
            assert item.said.isdecimal() and f"\n{item.said}. " in asked
        elif "の形で" in asked:
            assert re.fullmatch("答えは.+です。", item.said)
        elif "記号" in asked:
            assert f"\n{item.said}. " in asked
        else:
            assert f"「{item.said}」" in asked or f"」{item.said}「" in asked or item.said in asked
        assert item.choices and item.answer is not None and item.choices[item.answer] == item.said


def test_all_forms_and_all_labels_come_up(items):
    entailments = [item for item in items if item.task == "entailment"]
    assert {item.template.split("-", 3)[3].split("@")[0].replace("-", "_") for item in entailments} == set(FORMS)
    labels = Counter(item.answer for item in entailments)
    assert max(labels.values()) - min(labels.values()) < 12


def test_what_is_extracted_stands_in_the_text_and_json_has_the_keys_asked_for(items):
    for item in (item for item in items if item.task == "extraction"):
        asked = item.prompt[0].content
        if item.template.startswith("fields"):
            values = json.loads(item.said)
            assert list(values) == re.findall(r'"(\w+)"', asked.split("\n")[0])
            assert all(value in asked for value in values.values())
        else:
            assert all(part.strip() in asked for part in re.split("[、,\n]", item.said))


def test_a_word_is_in_its_class_and_in_no_other():
    everything = [word for words in WORDS.values() for word in words]
    assert len(everything) == len(set(everything))


def test_more_of_a_family_keeps_what_there_was(make):
    few, many = (make([Entailment(count=n), Mathematics(count=n)]) for n in (20, 40))
    assert {item.id for item in few} <= {item.id for item in many}


def test_every_form_names_every_label_once():
    for form in FORMS:
        asked = asking(form, ("含意", "矛盾", "中立"))
        assert len(set(asked.answers)) == 3
        assert all(asked.request.count(label) == 1 for label in ("含意", "矛盾", "中立"))
