from bunbuku_tokenizer.sentences import MAX_CHARS, sentences
from hypothesis import given
from hypothesis import strategies as st

_CUT = "\n\r\t\0\u2581\u2585"


@given(st.one_of(st.text(), st.text("あ。！ a\n\t\u2581", max_size=3000)))
def test_nothing_is_lost_but_what_cuts(text: str) -> None:
    def bare(text: str) -> str:
        return "".join(character for character in text if character not in _CUT + " ")

    assert bare("".join(sentences(text))) == bare(text)


@given(st.one_of(st.text(), st.text("あ。 a\n", max_size=5000)))
def test_every_sentence_is_one_that_the_trainer_takes(text: str) -> None:
    for sentence in sentences(text):
        assert 0 < len(sentence.encode()) <= 4192
        assert not set(sentence) & set(_CUT)
        assert "  " not in sentence


def test_a_long_line_without_a_full_stop_is_cut_at_a_space() -> None:
    line = "word " * 1000
    parts = list(sentences(line))
    assert {part.split()[-1] for part in parts if part.strip()} == {"word"}
    assert max(map(len, parts)) <= MAX_CHARS
    assert "".join(parts) == line


def test_a_long_line_without_any_space_is_kept_whole_in_parts() -> None:
    parts = list(sentences("𠮷" * 2500))
    assert [len(part) for part in parts] == [MAX_CHARS, MAX_CHARS, 500]
