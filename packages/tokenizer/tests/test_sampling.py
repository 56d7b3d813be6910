from bunbuku_tokenizer.documents import Document
from bunbuku_tokenizer.sampling import draw, key_of
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.lists(st.text("あいうabc", max_size=30), max_size=30)


def documents(texts: list[str]) -> list[Document]:
    return [Document(str(index), text, "ja") for index, text in enumerate(texts)]


@given(texts=TEXTS, max_chars=st.integers(0, 200), seed=st.integers(0, 9), order=st.randoms())
def test_the_order_of_the_corpus_does_not_matter(texts: list[str], max_chars: int, seed: int, order) -> None:
    given_order = documents(texts)
    other_order = documents(texts)
    order.shuffle(other_order)
    first, second = (draw(stream, max_chars=max_chars, budgets={}, seed=seed) for stream in (given_order, other_order))
    assert first == second


@given(texts=TEXTS, max_chars=st.integers(0, 200))
def test_a_sample_fills_its_budget_or_takes_everything(texts: list[str], max_chars: int) -> None:
    drawn = draw(documents(texts), max_chars=max_chars, budgets={}, seed=0)
    chars = sum(map(len, texts))
    assert sum(each.chars for each in drawn.values()) == min(max_chars, chars)
    assert sum(each.seen_chars for each in drawn.values()) == chars


@given(texts=TEXTS, max_chars=st.integers(1, 200), seed=st.integers(0, 3))
def test_a_sample_is_the_documents_with_the_smallest_keys(texts: list[str], max_chars: int, seed: int) -> None:
    ranked = sorted(documents(texts), key=lambda document: key_of(document.id, seed))
    drawn = draw(documents(texts), max_chars=max_chars, budgets={}, seed=seed)
    wanted = "".join(document.text for document in ranked)[:max_chars]
    assert "".join(text for each in drawn.values() for text in each.texts) == wanted


def test_each_language_has_a_budget_of_its_own() -> None:
    stream = [Document(f"{language}{index}", "あ" * 10, language) for language in ("ja", "en") for index in range(20)]
    drawn = draw(stream, max_chars=50, budgets={"en": 0}, seed=0)
    assert (drawn["ja"].chars, drawn["en"].chars) == (50, 0)
    assert drawn["en"].seen_documents == 20


def test_another_seed_draws_other_documents() -> None:
    stream = [Document(str(index), f"{index:04}", "ja") for index in range(100)]
    first, second = (draw(stream, max_chars=40, budgets={}, seed=seed)["ja"].texts for seed in (0, 1))
    assert set(first) != set(second)
