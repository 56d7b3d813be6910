"""Presets hold what was published, value by value, and the one of ours is what is done by default."""

from typing import Any

import pytest
from bunbuku_corpus import AnnotateConfig, CleanConfig, DecideConfig
from bunbuku_corpus.policy import measures_of
from bunbuku_corpus.presets import PresetName, presets


# From the projects' own files: swallow-corpus `quality.py`, `ngword.py` and `footer.py`, fineweb-2 `configs/jpn_Jpan.yml` with the
# defaults of datatrove 0.10, llm-jp-corpus `filters.py`, and Tanuki's `1_DataPreparation/CommonCrawl`.
def _but(n: int, usual: int) -> str:
    return "" if n == usual else f"_{n}"


TOP = {2: 0.20, 3: 0.18, 4: 0.16}
DUPLICATE = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
PUBLISHED: dict[PresetName, dict[str, dict[str, Any]]] = {
    "swallow-v1": {
        "listed_host": {"hosts": ("5ch.net", "wikipedia.org")},
        "listed_words_adult": {"max_ratio": 0.05},
        "listed_words_discrimination": {"max_ratio": 0.05},
        "too_short": {"min_chars": 400},
        "duplicate_lines_True": {"max_ratio": 0.30},
        "duplicate_sentences": {"max_ratio": 0.30},
        "duplicate_line_characters": {"max_ratio": 0.20},
        "duplicate_sentence_characters": {"max_ratio": 0.20},
        **{f"frequent_ngram{_but(n, 2)}": {"n": n, "max_ratio": most} for n, most in TOP.items()},
        **{f"recurring_ngrams{_but(n, 5)}": {"n": n, "max_ratio": most} for n, most in DUPLICATE.items()},
        "too_little_hiragana": {"min_ratio": 0.2},
        "too_much_katakana": {"max_ratio": 0.5},
        "too_little_japanese": {"min_ratio": 0.5},
        "too_few_japanese": {"min_chars": 400},
        "odd_sentences": {"min_chars": 20, "max_chars": 90},
        "endless_sentence": {"max_chars": 200},
        "ellipsis_sentences": {"max_ratio": 0.2},
    },
    "fineweb2-ja": {
        "other_language": {"expected": ("ja",)},
        "duplicate_lines": {"max_ratio": 0.328},
        "top_word_ngram_True": {"n": 2, "spaces": True, "max_ratio": 0.239},
        "top_word_ngram_3_True": {"n": 3, "spaces": True, "max_ratio": 0.196},
        "top_word_ngram_4_True": {"n": 4, "spaces": True, "max_ratio": 0.172},
        "repeated_word_ngrams": {"n": 5, "max_ratio": 0.243},
        "repeated_word_ngrams_6": {"n": 6, "max_ratio": 0.225},
        "repeated_word_ngrams_7": {"n": 7, "max_ratio": 0.207},
        "repeated_word_ngrams_8": {"n": 8, "max_ratio": 0.19},
        "repeated_word_ngrams_9": {"n": 9, "max_ratio": 0.175},
        "repeated_word_ngrams_10": {"n": 10, "max_ratio": 0.159},
        "unfinished_lines": {"min_ratio": 0.096},
        "duplicate_line_characters": {"max_ratio": 0.1},
        "too_many_newlines": {"max_ratio": 0.13},
        "too_few_words": {"min_words": 50},
        "too_many_words": {"max_words": 100_000},
        "odd_words": {"min_chars": 1, "max_chars": 6},
        "too_many_symbols": {"max_ratio": 0.1},
        "bullet_lines": {"max_ratio": 0.9},
        "ellipsis_lines": {"max_ratio": 0.3},
        "too_few_letter_words": {"min_ratio": 0.759},
        "too_few_stop_words": {"stop_words": tuple("のにをはたてがとで年し・月れさ"), "min_count": 2},
    },
    "llm-jp-v1": {
        "other_top_level_domain": {
            "expected": ("jp", "com", "net", "org", "work", "info", "xyz", "biz", "me", "tv", "site", "tokyo", "cc")
        },
        "listed_host": {"hosts": ("ja.wikipedia.org",)},
        "no_early_kana": {"chars": 50, "min_count": 1},
        "too_many_listed_words_advertising": {"max_count": 10},
        "too_many_listed_words_adult": {"max_count": 3},
        "too_many_listed_words_discrimination": {"max_count": 3},
        "too_many_listed_words_violence": {"max_count": 3},
        "too_few_kuten": {"max_chars": 250},
        "odd_compression": {"min_ratio": 0.30, "max_ratio": 0.70},
    },
    "tanuki": {
        "no_early_kana": {"chars": 50, "min_count": 1},
        "too_short": {"min_chars": 30},
        "too_long": {"max_chars": 50_000},
        "frequent_ngram_1": {"n": 1, "max_ratio": 0.3},
        "repeated_lines": {"max_ratio": 0.30},
        "repeated_paragraphs": {"max_ratio": 0.30},
        **{f"dominant_ngram{_but(n, 2)}": {"n": n, "max_ratio": most} for n, most in TOP.items()},
        **{f"repeated_ngrams{_but(n, 10)}": {"n": n, "max_ratio": most} for n, most in DUPLICATE.items()},
        "too_many_nouns": {"max_ratio": 0.7},
        "listed_words_adult": {"max_ratio": 0.03},
        "too_many_listed_words_advertising": {"max_count": 10},
    },
}
EDITS: dict[PresetName, list[dict[str, Any]]] = {
    "swallow-v1": [{"type": "unify_punctuation"}, {"type": "trim_footer", "lines": 10, "min_ratio": 0.3}],
    "fineweb2-ja": [
        {"type": "repair_mojibake"},
        {"type": "mask_personal_information", "phone": None},
        {"type": "drop_symbol_lines", "symbols": "|"},
    ],
    "llm-jp-v1": [],
    "tanuki": [{"type": "mask_personal_information"}],
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_has_every_published_value_and_no_other(name: PresetName):
    held = {one.name: one.model_dump() for one in presets()[name].filters}
    published = PUBLISHED[name]
    assert list(held) == list(published)
    for one, values in published.items():
        assert {field: held[one][field] for field in values} == values, one
        thresholds = {field for field in held[one] if field.startswith(("min_", "max_"))}
        assert thresholds == {field for field in values if field.startswith(("min_", "max_"))}, one
    edits = [edit.model_dump() for edit in presets()[name].edits]
    assert [{field: edit[field] for field in said} for edit, said in zip(edits, EDITS[name], strict=True)] == EDITS[
        name
    ]


def test_what_is_done_by_default_is_the_preset_web_with_its_edits():
    web = presets()["web"]
    assert [edit.name for edit in web.edits] == [
        "repair_mojibake",
        "drop_boilerplate_lines",
        "drop_menus",
        "trim_footer",
    ]
    for config in (CleanConfig(), CleanConfig.model_validate({"preset": "web"})):
        assert (config.preset, config.filters, config.edits) == ("web", web.filters, web.edits)
        assert CleanConfig.model_validate(config.model_dump()) == config
    assert DecideConfig().filters == web.filters
    annotated = AnnotateConfig()
    assert annotated.edits == web.edits
    assert {one.name for one in annotated.measures} == set(measures_of(web.filters))
    assert AnnotateConfig.model_validate(annotated.model_dump()) == annotated


def test_a_config_that_lists_filters_has_these_alone_and_no_edits():
    config = CleanConfig.model_validate({"filters": [{"type": "too_short"}]})
    assert (config.preset, [one.name for one in config.filters], config.edits) == (None, ["too_short"], ())
    assert CleanConfig(filters=()).filters == ()
    assert CleanConfig.model_validate(config.model_dump()) == config


def test_edits_of_a_config_stand_in_place_of_the_presets():
    assert CleanConfig.model_validate({"preset": "web", "edits": []}).edits == ()
    other = CleanConfig.model_validate({"preset": "swallow-v1", "edits": [{"type": "repair_mojibake"}]})
    assert [edit.name for edit in other.edits] == ["repair_mojibake"]
    measured = AnnotateConfig.model_validate({"presets": ["swallow-v1", "web"]})
    assert measured.edits == presets()["swallow-v1"].edits
