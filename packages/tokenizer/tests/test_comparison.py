import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Config,
    Corpus,
    Draft,
    Report,
    Section,
    Tokenizer,
    read_sections,
    stage,
)
from bunbuku_tokenizer import CompareConfig, MeasureConfig, compare, measure
from bunbuku_tokenizer.cli import main
from bunbuku_tokenizer.pictures import Mark, boundaries, marks
from bunbuku_tokenizer.reader import open_reader
from hypothesis import given, settings
from hypothesis import strategies as st

_QUICK = CompareConfig(random_texts=50)


@pytest.fixture(scope="session")
def compared(
    tokenizer: Artifact[Tokenizer],
    corpus: Artifact[Corpus],
    nmt_nfkc: Path,
    byte_level: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Artifact[Report]:
    out = tmp_path_factory.mktemp("compared") / "report"
    return compare(out, _QUICK, corpus, {"ours": tokenizer}, {"theirs": nmt_nfkc, "bytes": byte_level.parent})


def _section(report: Artifact[Report], title: str) -> Section:
    return next(section for section in read_sections(report) if section.title == title)


def test_a_report_has_numbers_by_language_and_overall(
    tokenizer: Artifact[Tokenizer], corpus: Artifact[Corpus], tmp_path: Path
) -> None:
    report = measure(tmp_path / "report", MeasureConfig(random_texts=50), tokenizer, corpus)
    metrics = report.manifest.metrics
    assert metrics["ja.tokens"] + metrics["en.tokens"] == metrics["overall.tokens"] > 0
    assert metrics["overall.round_trip_failures"] == metrics["overall.id_differences"] == 0
    assert metrics["random.round_trip_failures"] == 0
    assert 1 < metrics["ja.characters_per_token"] < metrics["ja.bytes_per_token"]
    assert metrics["speed.encode_mb_per_second"] > 0 < metrics["speed.hugging_face.decode_mb_per_second"]
    assert [table.caption.split(":")[0] for table in _section(report, "Compression and losses").tables] == [
        "language en",
        "language ja",
        "overall",
    ]
    spending = _section(report, "What the vocabulary is spent on")
    assert sum(int(row[1] or 0) for row in spending.tables[0].rows) == tokenizer.spec.vocab_size
    shares = [share for _, share in spending.curves[0].points]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(_section(report, "How text is cut").pictures) == 4


def test_the_same_text_is_measured_alike_alone_and_in_company(
    compared: Artifact[Report], tokenizer: Artifact[Tokenizer], corpus: Artifact[Corpus], tmp_path: Path
) -> None:
    alone = measure(tmp_path / "alone", MeasureConfig(random_texts=50), tokenizer, corpus).manifest.metrics
    together = compared.manifest.metrics
    same = {name for name in alone if f"ours.{name}" in together and not name.startswith("speed")}
    assert {"ja.straddling_share", "morpheme_coverage", "unused_pieces", "random.texts"} <= same
    assert {name: alone[name] for name in same} == {name: together[f"ours.{name}"] for name in same}


def test_every_tokenizer_has_its_numbers_side_by_side(compared: Artifact[Report]) -> None:
    metrics = compared.manifest.metrics
    for name in ("ours", "theirs", "bytes"):
        assert metrics[f"{name}.overall.documents"] == metrics["ours.overall.documents"]
        assert metrics[f"{name}.overall.characters_per_token"] > 1
    for table in _section(compared, "Compression and losses").tables:
        assert [row[0] for row in table.rows] == ["ours", "bytes", "theirs"]
    assert metrics["ours.random.round_trip_failures"] == metrics["bytes.random.round_trip_failures"] == 0
    random = {str(row[0]): row for row in _section(compared, "Random Unicode").tables[0].rows}
    assert random["ours"][3] is None
    assert "comes back as" in str(random["theirs"][3])


def test_shared_pieces_are_counted(compared: Artifact[Report], tokenizer: Artifact[Tokenizer], nmt_nfkc: Path) -> None:
    _, overlap, own = _section(compared, "What the vocabulary is spent on").tables
    ours, theirs = ({s for s in open_reader(path).spellings if s} for path in (tokenizer.dir, nmt_nfkc))
    row = next(row for row in overlap.rows if row[:2] == ("ours", "theirs"))
    assert row[2] == len(ours & theirs)
    assert row[3] == round(100 * len(ours & theirs) / len(ours), 2)
    for name, pieces in own.rows:
        assert name in ("ours", "bytes", "theirs")
        if name == "ours":
            assert all(eval(piece) in ours - theirs for piece in re.findall(r"'[^']+'", str(pieces)))


def test_frequent_morphemes_are_single_pieces_or_named(
    compared: Artifact[Report], tokenizer: Artifact[Tokenizer]
) -> None:
    morphemes = _section(compared, "Morphemes")
    pieces = open_reader(tokenizer.dir).spellings
    (row,) = (row for row in morphemes.tables[0].rows if row[0] == "ours")
    assert row[1] == round(100 * compared.manifest.metrics["ours.morpheme_coverage"], 2) > 0
    assert not [missing for missing in str(row[2]).split() if missing in pieces]
    assert [curve.name for curve in morphemes.curves] == ["ours", "bytes", "theirs"]
    assert morphemes.curves[0].points[-1][1] == pytest.approx(
        compared.manifest.metrics["ours.morpheme_coverage"], abs=1e-5
    )


def test_equal_inputs_give_equal_bytes_timings_aside(
    compared: Artifact[Report],
    tokenizer: Artifact[Tokenizer],
    corpus: Artifact[Corpus],
    nmt_nfkc: Path,
    byte_level: Path,
    tmp_path: Path,
) -> None:
    foreign = {"bytes": byte_level.parent, "theirs": nmt_nfkc}
    assert compare(tmp_path / "again", _QUICK, corpus, {"ours": tokenizer}, foreign).content == compared.content


def test_the_page_stands_alone_and_its_pictures_are_well_formed(compared: Artifact[Report]) -> None:
    page = (compared.dir / "index.html").read_text(encoding="utf-8")
    assert compared.spec.page == "index.html"
    assert not re.search(r"(?:src|href)=", page)
    drawn = sorted(path.name for path in compared.dir.glob("*.svg"))
    assert drawn == ["cut-00.svg", "cut-01.svg", "lengths.svg"]
    for name in drawn:
        ElementTree.fromstring((compared.dir / name).read_text(encoding="utf-8"))
    assert page.count("<svg") == len(drawn) + 2  # and two groups of curves


def test_sources_are_told_apart_if_there_are_several(tokenizer: Artifact[Tokenizer], publish, tmp_path: Path) -> None:
    rows = [{"id": "1", "text": "石油", "source": "wiki"}, {"id": "2", "text": "水素と石油", "source": "web"}]
    report = compare(tmp_path / "out", _QUICK, publish("several", data=rows), {"ours": tokenizer})
    captions = [table.caption for table in _section(report, "Compression and losses").tables]
    assert captions[1:] == ["source web: 1 documents, 5 characters", "source wiki: 1 documents, 2 characters"]
    assert report.manifest.metrics["ours.source.wiki.tokens"] == len(open_reader(tokenizer.dir).encode("石油"))


def test_a_tokenizer_that_has_only_one_form_is_measured_in_it(
    tokenizer: Artifact[Tokenizer], byte_level: Path, publish, tmp_path: Path
) -> None:
    @stage("tests.extended")
    def extended(draft: Draft, config: Config) -> Tokenizer:
        (draft.dir / "tokenizer.json").write_bytes(byte_level.read_bytes())
        return Tokenizer(vocab_size=700)

    corpus, only = publish("corpus", data=[{"id": "1", "text": "石油①"}]), extended(tmp_path / "only", Config())
    alone = measure(tmp_path / "alone", MeasureConfig(random_texts=5), only, corpus).manifest.metrics
    assert "speed.hugging_face.encode_mb_per_second" not in alone
    ids = open_reader(byte_level).encode("石油①")
    both = compare(tmp_path / "both", _QUICK, corpus, {"only": only, "whole": tokenizer}).manifest.metrics
    assert alone["ja.tokens"] == both["only.ja.tokens"] == len(ids)


def test_a_text_without_a_character_is_measured(tokenizer: Artifact[Tokenizer], publish, tmp_path: Path) -> None:
    report = measure(tmp_path / "out", MeasureConfig(), tokenizer, publish("empty", data=[{"id": "1", "text": ""}]))
    assert report.manifest.metrics["overall.tokens"] == report.manifest.metrics["overall.round_trip_failures"] == 0


def test_a_file_that_is_no_tokenizer_leaves_nothing_behind(corpus: Artifact[Corpus], tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("吾輩は猫である")
    with pytest.raises(BunbukuError, match=r"note\.txt does not read as a SentencePiece model"):
        compare(tmp_path / "out", CompareConfig(), corpus, foreign={"note": tmp_path / "note.txt"})
    assert not (tmp_path / "out").exists()


def test_no_tokenizer_and_two_of_one_name_are_refused(
    tokenizer: Artifact[Tokenizer], corpus: Artifact[Corpus], nmt_nfkc: Path, tmp_path: Path
) -> None:
    with pytest.raises(BunbukuError, match="there is no tokenizer to measure"):
        compare(tmp_path / "out", CompareConfig(), corpus)
    with pytest.raises(BunbukuError, match="'a' names two tokenizers"):
        compare(tmp_path / "out", CompareConfig(), corpus, {"a": tokenizer}, {"a": nmt_nfkc})


def test_the_command_line_compares(
    tokenizer: Artifact[Tokenizer],
    corpus: Artifact[Corpus],
    nmt_nfkc: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = str(tmp_path / "report")
    given = ["--tokenizers", f"ours={tokenizer.dir}", "--foreign", f"theirs={nmt_nfkc}", "--corpus", str(corpus.dir)]
    assert main(["compare", *given, "--out", out, "--set", "random_texts=5"]) == 0
    said = capsys.readouterr()
    assert said.out.split() == [out]
    for shown in ("ours", "theirs", "characters a token", "straddling %"):
        assert shown in said.err
    bad = tmp_path / "bad.model"
    bad.write_bytes(b"x")
    assert main(["compare", "--foreign", f"bad={bad}", "--corpus", str(corpus.dir), "--out", str(tmp_path / "no")]) == 1
    assert "bad.model does not read as a SentencePiece model" in capsys.readouterr().err


@settings(max_examples=100, deadline=None)
@given(text=st.text("狸は茶釜 <&①\n\t\0👩a", max_size=90), cuts=st.sets(st.integers(1, 90)))
def test_a_picture_shows_every_character_of_every_row(text: str, cuts: set[int]) -> None:
    places = [0, *sorted(place for place in cuts if place < len(text)), len(text)]
    row = marks(pairwise(places))
    drawn = ElementTree.fromstring(boundaries(text, {"ours": row, "theirs": [Mark(0, len(text))] if text else []}))
    texts = [node.text or "" for node in drawn.iter() if node.tag.endswith("text")]
    shown = text.translate(str.maketrans({"\n": "⏎", "\t": "⇥", " ": "␣", "\0": "\ufffd"}))
    for name, next_name in (("ours", "theirs"), ("theirs", "ours")):
        of_row, inside = "", False
        for each in texts:
            inside = True if each == name else False if each == next_name else inside
            of_row += each if inside and each != name else ""
        assert of_row == shown
