"""A recorded config survives the way through TOML."""

import tomllib

from bunbuku_eval.toml import dumps
from hypothesis import given
from hypothesis import strategies as st

scalars = st.one_of(
    st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False), st.text(st.characters(codec="utf-8"))
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), inner, max_size=4),
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=12), values, max_size=6))
def test_a_config_comes_back_as_it_was(config) -> None:
    assert tomllib.loads(dumps(config)) == config


def test_what_is_null_is_left_out() -> None:
    assert tomllib.loads(dumps({"a": None, "b": {"c": None, "d": 1}})) == {"b": {"d": 1}}
