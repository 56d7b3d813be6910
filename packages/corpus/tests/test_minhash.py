import random

import numpy as np
import pytest
from bunbuku_corpus.document import Document
from bunbuku_corpus.duplicates import Decision, decide, index
from bunbuku_corpus.minhash import NearDuplicates, band_keys, comparable, jaccard, nominated, shingles
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

WORDS = [
    "犬",
    "猫",
    "鳥",
    "走る",
    "眠る",
    "食べる",
    "公園",
    "図書館",
    "昨日",
    "今日",
    "静かに",
    "大きな",
    "青い",
    "山",
    "川",
    "海",
]


def make(texts: list[str]) -> list[Document]:
    return [Document(f"d{n}", text, "s", None, "MIT", "ja") for n, text in enumerate(texts)]


def decisions(documents: list[Document], near: NearDuplicates | None = None) -> list[Decision]:
    near = near or NearDuplicates()
    return list(decide(documents, index(documents, near), near))


def kept_of(documents: list[Document], near: NearDuplicates | None = None) -> list[Document]:
    return [decision.document for decision in decisions(documents, near) if decision.duplicate is None]


def prose(seed: int, words: int = 120) -> str:
    chooser = random.Random(seed)
    return "".join(chooser.choice(WORDS) + chooser.choice("がをにで、。") for _ in range(words))


# Few words and short texts, so that equal and similar ones come up.
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map("".join), max_size=12)


@given(TEXTS)
def test_what_goes_is_near_to_what_stays(texts: list[str]):
    near = NearDuplicates(ngram=2, threshold=0.6, bands=40, rows=4)
    documents = make(texts)
    sets = {one.id: shingles(comparable(one.text), near.ngram) for one in documents}
    made = decisions(documents, near)
    staying = [decision.document.id for decision in made if decision.duplicate is None]
    for document, duplicate in made:
        if duplicate is None:
            continue
        assert duplicate.of in staying
        assert jaccard(sets[document.id], sets[duplicate.of]) >= near.threshold
        assert int(duplicate.of[1:]) < int(document.id[1:])


@given(TEXTS)
def test_deduplicating_twice_removes_nothing_more(texts: list[str]):
    near = NearDuplicates(ngram=2, threshold=0.6, bands=40, rows=4)
    kept = kept_of(make(texts), near)
    assert kept_of(kept, near) == kept


@given(TEXTS)
def test_every_document_is_decided_once_in_order(texts: list[str]):
    documents = make(texts)
    assert [decision.document for decision in decisions(documents)] == documents


@settings(max_examples=30)
@given(TEXTS)
def test_with_a_band_for_every_pair_it_agrees_with_comparing_all_pairs(texts: list[str]):
    near = NearDuplicates(ngram=2, threshold=0.6, bands=200, rows=1)
    documents = make(texts)
    stay: list[Document] = []
    for document in documents:
        mine = shingles(comparable(document.text), 2)
        others = (shingles(comparable(other.text), 2) for other in stay)
        if all(jaccard(mine, other) < near.threshold for other in others):
            stay.append(document)
    assert kept_of(documents, near) == stay


def test_equal_texts_are_found_however_short():
    made = decisions(make(["はい", "いいえ", "は い\n", ""]))
    assert [decision.duplicate is None for decision in made] == [True, True, False, True]
    assert made[2].duplicate and made[2].duplicate.reason == "exact_duplicate" and made[2].duplicate.of == "d0"


def test_a_copy_of_a_document_that_went_points_to_one_that_stays():
    first = prose(1)
    near_copy = first[:-3] + "終わり"
    made = decisions(make([first, near_copy, near_copy]))
    assert [decision.duplicate.of for decision in made if decision.duplicate] == ["d0", "d0"]


def test_voicing_marks_and_digits_make_a_difference_and_width_does_not():
    assert comparable("です。ガギグゲゴ") != comparable("てす。カキクケコ")
    assert comparable("2024年") != comparable("2025年")
    assert comparable("ｶﾞｿﾘﾝ１００円") == comparable("ガソリン100円")


@pytest.mark.parametrize("changed", [1, 3, 5])
def test_a_document_with_a_few_changed_characters_is_found(changed: int):
    texts = []
    chooser = random.Random(changed)
    for seed in range(40):
        text = prose(seed)
        copy = list(text)
        for place in chooser.sample(range(len(copy)), changed):
            copy[place] = "〇"
        texts += [text, "".join(copy)]
    made = decisions(make(texts))
    assert sum(decision.duplicate is not None for decision in made) >= 39


def test_unlike_documents_stay():
    assert len(kept_of(make([prose(seed) for seed in range(200)]))) == 200


def test_documents_are_found_whatever_batch_they_fall_into():
    texts = [prose(seed) for seed in range(600)]
    made = decisions(make([*texts, texts[0] + "追記"]))
    assert made[-1].duplicate and made[-1].duplicate.of == "d0"
    assert sum(decision.duplicate is not None for decision in made) == 1


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.9])
def test_nomination_follows_the_banding_curve(similarity: float):
    near = NearDuplicates(bands=20, rows=5, ngram=1)
    expected = 1 - (1 - similarity**near.rows) ** near.bands
    shared = round(200 * 2 * similarity / (1 + similarity))
    hits = 0
    for pair in range(300):
        points = [chr(0x4E00 + (pair * 400 + n) % 20_000) for n in range(400 - shared)]
        left, right = points[:200], points[200 - shared :]
        hits += bool(nominated(band_keys(["".join(left), "".join(right)], near)).all())
    assert hits / 300 == pytest.approx(expected, abs=0.09)


def test_signatures_do_not_depend_on_the_batch():
    near = NearDuplicates()
    texts = [prose(seed) for seed in range(5)] + ["", "短い"]
    together = band_keys(texts, near)
    assert np.array_equal(together, np.concatenate([band_keys([text], near) for text in texts]))


def test_bands_that_would_miss_most_pairs_are_refused():
    with pytest.raises(ValidationError, match="`bands` 40 and `rows` 20 find"):
        NearDuplicates(bands=40, rows=20, threshold=0.8)
