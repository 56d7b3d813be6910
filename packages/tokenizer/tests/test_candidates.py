from collections import Counter

from bunbuku_tokenizer.candidates import candidates, substrings
from bunbuku_tokenizer.morphemes import Tally
from hypothesis import given
from hypothesis import strategies as st

ATOMS = st.dictionaries(st.text("石油王 ab", min_size=1, max_size=8), st.integers(1, 9), max_size=12)


@given(atoms=ATOMS, max_chars=st.integers(2, 6), min_count=st.integers(1, 9))
def test_a_candidate_counts_as_often_as_it_lies_within_an_atom(atoms, max_chars: int, min_count: int) -> None:
    found = dict(candidates(Tally(Counter(atoms)), max_chars=max_chars, min_count=min_count, limit=10_000))
    counts: Counter[str] = Counter()
    for atom, count in atoms.items():
        for start in range(len(atom)):
            for end in range(start + 2, len(atom) + 1):
                if end - start <= max_chars:
                    counts[atom[start:end].replace(" ", "▁")] += count
    assert found == {piece: count for piece, count in counts.items() if count >= min_count}


@given(atoms=ATOMS, limit=st.integers(0, 20))
def test_the_limit_keeps_the_most_useful_in_an_order_that_counts_alone_decide(atoms, limit: int) -> None:
    backwards = Counter(dict(reversed(atoms.items())))
    kept = candidates(Tally(Counter(atoms)), max_chars=8, min_count=1, limit=limit)
    everything = candidates(Tally(backwards), max_chars=8, min_count=1, limit=10_000)
    assert kept == everything[:limit]
    usefulness = [count * len(piece) for piece, count in everything]
    assert usefulness == sorted(usefulness, reverse=True)


@given(st.text(max_size=12), st.integers(2, 12))
def test_substrings_have_two_to_so_many_characters(atom: str, max_chars: int) -> None:
    assert all(2 <= len(part) <= max_chars and part in atom for part in substrings(atom, max_chars))
