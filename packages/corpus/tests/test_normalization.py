import unicodedata
from typing import Literal

import pytest
from bunbuku_corpus.normalization import Changes, Normalization, normalize
from hypothesis import given
from hypothesis import strategies as st

FORMS = st.sampled_from(["none", "NFC", "NFKC"])


@given(st.text(), FORMS)
def test_normalizing_twice_changes_nothing_more(text: str, form: Literal["none", "NFC", "NFKC"]):
    how = Normalization(form=form)
    once = normalize(text, how, Changes())
    again = Changes()
    assert normalize(once, how, again) == once
    assert again.documents == again.newlines == again.controls == 0 and not again.replaced


@given(st.text(), FORMS)
def test_a_text_that_is_changed_is_counted(text: str, form: Literal["none", "NFC", "NFKC"]):
    changes = Changes()
    result = normalize(text, Normalization(form=form), changes)
    assert changes.documents == (result != text)
    assert changes.foldable_documents == (unicodedata.normalize("NFKC", result) != result)


@given(st.text())
def test_without_keeping_ideographs_the_form_is_unicodes(text: str):
    how = Normalization(keep_compatibility_ideographs=False, newlines=False, remove_controls=False)
    assert normalize(text, how, Changes()) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("１８日、ＡＢＣ　①㈱ｶﾞｿﾘﾝ", "１８日、ＡＢＣ　①㈱ｶﾞｿﾘﾝ"),  # nothing of width or meaning is folded
        ("か\u3099は\u309a", "がぱ"),
        ("\ufa19社の\ufa1bさん", "\ufa19社の\ufa1bさん"),  # compatibility ideographs
        ("一行目\r\n二行目\r三行目\n", "一行目\n二行目\n三行目\n"),
        ("\ufeff表\t題\x00\x1f\x85", "表\t題"),
    ],
)
def test_the_default_loses_nothing_that_people_wrote(text: str, expected: str):
    assert normalize(text, Normalization(), Changes()) == expected


def test_replacements_and_what_nfkc_would_fold_are_counted_by_character():
    changes = Changes()
    normalize("か\u3099か\u3099①①①ｶ", Normalization(), changes)
    assert dict(changes.replaced) == {("か\u3099", "が"): 2}
    assert dict(changes.foldable) == {"①": 3, "ｶ": 1}


def test_ideographs_are_replaced_when_asked_and_counted():
    changes = Changes()
    assert normalize("\ufa19", Normalization(keep_compatibility_ideographs=False), changes) == "\u795e"
    assert dict(changes.replaced) == {("\ufa19", "\u795e"): 1}


def test_tallies_add_up():
    both, one, other = Changes(), Changes(), Changes()
    for text, single in (("か\u3099\r", one), ("①\x00", other)):
        normalize(text, Normalization(), single)
        normalize(text, Normalization(), both)
    one.add(other)
    assert one == both
