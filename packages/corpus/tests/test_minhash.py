import random

import numpy as np
import pytest
from bunbuku_corpus.comparison import Buffer
from bunbuku_corpus.minhash import NearDuplicates, band_keys, jaccard, shingles, windows
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError


@given(st.lists(st.text("あいう", max_size=12), max_size=6), st.integers(1, 5))
def test_the_sets_of_a_batch_are_those_of_its_texts(texts: list[str], ngram: int):
    sets = list(shingles(Buffer.of(texts), ngram))
    for text, found in zip(texts, sets, strict=True):
        assert len(found) == len({text[at : at + ngram] for at in range(len(text) - ngram + 1)})
        assert np.array_equal(found, next(shingles(Buffer.of([text]), ngram)))


@given(st.text("あいうえお", max_size=20), st.text("あいうえお", max_size=20), st.integers(1, 4))
def test_the_similarity_is_that_of_the_sets_of_ngrams(one: str, other: str, ngram: int):
    left, right = ({text[at : at + ngram] for at in range(len(text) - ngram + 1)} for text in (one, other))
    found = jaccard(*shingles(Buffer.of([one, other]), ngram))
    assert found == (len(left & right) / len(left | right) if left | right else 1.0)


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.9])
def test_nomination_follows_the_banding_curve(similarity: float):
    near = NearDuplicates(bands=20, rows=5, ngram=1)
    shared = round(200 * 2 * similarity / (1 + similarity))
    hits = 0
    for pair in range(300):
        points = [chr(0x4E00 + (pair * 400 + n) % 20_000) for n in range(400 - shared)]
        left, right = band_keys(Buffer.of(["".join(points[:200]), "".join(points[200 - shared :])]), near)
        hits += bool((left == right).any())
    assert hits / 300 == pytest.approx(near.nominated(similarity), abs=0.09)


def test_unspaced_sentences_that_are_nearly_alike_share_most_bands():
    one = "この文章は、日本語の近似重複を検出するための試験に使われている長めの一文であり、空白を含まない。"
    left, right = band_keys(Buffer.of([one * 2, one * 2 + "追記"]), NearDuplicates())
    assert (left == right).sum() > 10


def test_signatures_do_not_depend_on_the_batch():
    near = NearDuplicates()
    chooser = random.Random(1)
    texts = ["".join(chooser.choices("犬猫鳥山川海がをにで、。", k=80)) for _ in range(5)] + ["", "短い"]
    together = band_keys(Buffer.of(texts), near)
    assert np.array_equal(together, np.concatenate([band_keys(Buffer.of([text]), near) for text in texts]))
    assert not together[-2:].any() and together[:-2].all()


def test_bands_have_keys_of_their_own():
    keys = band_keys(Buffer.of(["あいうえおかきくけこ"]), NearDuplicates())
    assert len(np.unique(keys)) == keys.size


def test_a_text_shorter_than_an_ngram_has_none():
    assert [len(one) for one in windows(Buffer.of(["", "あいう", "あいうえお", "あいうえおか"]), 5)] == [0, 0, 1, 2]


@pytest.mark.parametrize(("bands", "rows"), [(40, 20), (27, 18), (450, 20)])
def test_bands_that_would_miss_most_pairs_are_refused(bands: int, rows: int):
    with pytest.raises(ValidationError, match=f"`bands` {bands} and `rows` {rows} find"):
        NearDuplicates(bands=bands, rows=rows, threshold=0.7)


@pytest.mark.parametrize(("bands", "rows"), [(20, 5), (14, 8), (20, 10), (26, 11)])
def test_the_recall_is_the_one_that_the_curve_says(bands: int, rows: int):
    expected = 1 - (1 - 0.85**rows) ** bands
    assert NearDuplicates(bands=bands, rows=rows, threshold=0.85).recall == pytest.approx(expected)


def test_keys_are_the_same_tomorrow():
    """An index is read by another process, of another version: these numbers were computed once."""
    keys = band_keys(Buffer.of(["吾輩は猫である。"]), NearDuplicates(bands=20, rows=1, threshold=0.5))
    assert keys[0, :2].tolist() == [7073560805933185077, 10588180470742732663]
