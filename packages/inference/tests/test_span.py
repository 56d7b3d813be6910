"""What is scored of a text, and the windows over a long one."""

import pytest
from bunbuku_inference.span import shared, windows
from hypothesis import given
from hypothesis import strategies as st


@given(length=st.integers(0, 400), first=st.integers(1, 400), context=st.integers(2, 70))
def test_every_token_is_scored_once_with_half_a_context_before_it(length: int, first: int, context: int) -> None:
    found = list(windows(length, first, context))
    assert [at for window in found for at in range(window.first, window.end)] == list(range(first, length))
    for window in found:
        assert 0 < window.end - window.begin <= context
        assert window.first - window.begin >= min(window.first, context // 2)


@given(length=st.integers(2, 400), first=st.integers(1, 400))
def test_a_text_that_fits_is_one_window(length: int, first: int) -> None:
    assert [tuple(window) for window in windows(length, first, length)] == (
        [(0, length, first)] if first < length else []
    )


def test_a_text_has_no_score_for_its_first_token() -> None:
    with pytest.raises(ValueError, match="position 0"):
        list(windows(10, 0, 4))


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_what_two_lists_share_is_their_longest_common_beginning(left: list[int], right: list[int]) -> None:
    length = shared(left, right)
    assert left[:length] == right[:length]
    assert length in (len(left), len(right)) or left[length] != right[length]
