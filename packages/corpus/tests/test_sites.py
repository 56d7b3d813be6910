"""Lists of sites by category, laid out as UT1's are: what they name is found, however an address is written."""

import gzip
import json
import shutil
from pathlib import Path

import pytest
from bunbuku_contracts import BunbukuError, Corpus, load
from bunbuku_corpus import (
    AnnotateConfig,
    CleanConfig,
    DecideConfig,
    GatherConfig,
    annotate,
    clean,
    decide,
    gather,
    read_documents,
)
from bunbuku_corpus.filters import ListedSite, SiteCategory
from bunbuku_corpus.texts import Texts
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blacklists")
    for category, name, lines in (
        ("gambling", "domains", ["bets.example", "# a comment", "", "Casino.Example"]),
        ("gambling", "urls", ["news.example/betting", "http://www.mixed.example/a/b/"]),
        ("phishing", "domains", ["bets.example"]),
        ("phishing", "expressions", [".*"]),
    ):
        path = folder / category / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "shopping").mkdir()
    (folder / "shopping" / "domains.gz").write_bytes(gzip.compress(b"shop.example\n"))
    return folder


def categories(lists: Path, url: str | None, *names: str) -> str | None:
    measure = SiteCategory(folder=lists, categories=names or ("gambling", "phishing"))
    return measure.of(Texts([""], [url]))[0]


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://bets.example/", "gambling phishing"),
        ("http://WWW.Bets.Example:8080/x?y=1#z", "gambling phishing"),
        ("https://a.b.casino.example", "gambling"),
        ("https://notbets.example/", None),
        ("https://bets.example.org/", None),
        ("https://news.example/", None),
        ("https://www.news.example/betting", "gambling"),
        ("https://news.example/Betting/today?page=2", "gambling"),
        ("https://news.example/bettings", None),
        ("https://mixed.example/a/b", "gambling"),
        ("https://mixed.example/a", None),
        ("not an address", None),
        ("http://[broken", None),
        (None, None),
    ],
)
def test_an_address_is_found_by_its_host_and_by_where_it_begins(lists: Path, url: str | None, found: str | None):
    assert categories(lists, url) == found


def test_lists_may_be_compressed_and_only_what_is_asked_for_is_read(lists: Path):
    assert categories(lists, "https://shop.example/1", "shopping") == "shopping"
    assert categories(lists, "https://shop.example/1", "gambling") is None


@given(st.lists(st.sampled_from(["https://bets.example/a", None, "https://x.example/", "https://casino.example"])))
def test_addresses_have_the_same_categories_in_whatever_batch(lists: Path, urls: list[str | None]):
    measure = SiteCategory(folder=lists, categories=("gambling",))
    assert measure.of(Texts([""] * len(urls), urls)).tolist() == [categories(lists, url, "gambling") for url in urls]


def test_a_category_that_is_not_there_is_an_error_that_names_those_there_are(lists: Path):
    with pytest.raises(ValidationError, match=r"no list 'adult'.*gambling, phishing, shopping"):
        ListedSite(folder=lists, categories=("adult",))
    with pytest.raises(ValidationError, match="`folder` and `categories`"):
        ListedSite(categories=("adult",))


def test_a_recipe_has_the_digest_of_the_lists_and_not_their_place(lists: Path, tmp_path: Path):
    shutil.copytree(lists, tmp_path / "elsewhere")
    here = ListedSite(folder=lists, categories=("gambling",))
    there = ListedSite(folder=tmp_path / "elsewhere", categories=("gambling",))
    assert here.model_dump() == there.model_dump() and "folder" not in here.model_dump()
    with (tmp_path / "elsewhere" / "gambling" / "domains").open("a") as file:
        file.write("more.example\n")
    changed = ListedSite(folder=tmp_path / "elsewhere", categories=("gambling",))
    assert changed.digest != here.digest
    held = SiteCategory(folder=tmp_path / "elsewhere", categories=("gambling",), digest=here.digest)
    with pytest.raises(BunbukuError, match="digest"):
        held.of(Texts([""], ["https://more.example"]))


def test_clean_and_decide_drop_documents_of_listed_sites(lists: Path, tmp_path: Path):
    rows = [
        {"id": "a", "text": "今日は晴れ。", "url": "https://casino.example/1", "licence": "MIT"},
        {"id": "b", "text": "明日も晴れ。", "url": "https://diary.example/1", "licence": "MIT"},
        {"id": "c", "text": "昨日も晴れ。", "licence": "MIT"},
    ]
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    raw = gather(
        tmp_path / "raw",
        GatherConfig.model_validate({"sources": [{"type": "jsonl", "fields": {"url": "url"}}]}),
        source,
    )
    listed = {"type": "listed_site", "folder": str(lists), "categories": ["gambling"]}
    cleaned = clean(tmp_path / "clean", CleanConfig.model_validate({"filters": [listed]}), raw)
    assert [one.id for one in read_documents(cleaned)] == ["b", "c"]
    assert cleaned.manifest.metrics["in_sequence.listed_site_gambling.documents"] == 1

    measure = {"type": "site_category", "folder": str(lists), "categories": ["gambling"]}
    annotated = annotate(tmp_path / "ann", AnnotateConfig.model_validate({"presets": [], "measures": [measure]}), raw)
    decide(tmp_path / "decided", DecideConfig.model_validate({"filters": [listed]}), annotated)
    [dropped] = read_documents(load(tmp_path / "decided", Corpus), "dropped")
    assert dropped.id == "a"
