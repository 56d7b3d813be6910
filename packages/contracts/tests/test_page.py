from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from bunbuku_contracts import Picture, Section, Table
from bunbuku_contracts.drawing import Sign, plane
from bunbuku_contracts.intervals import wilson
from bunbuku_contracts.page import html
from hypothesis import given
from hypothesis import strategies as st

HOSTILE = "</script><b>&\"'太い"


class Reader(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.said: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def test_a_page_shows_words_as_words_and_each_picture_where_it_belongs():
    picture = plane({HOSTILE: [(0.0, 0.0), (1.0, 2.0)]}, [Sign(0.5, 0.5, HOSTILE)], label=HOSTILE, rings=frozenset())
    table = Table(columns=(HOSTILE,), rows=((HOSTILE,), (1234,), (None,)))
    section = Section(title=HOSTILE, pictures=(Picture(path="map.svg", caption=HOSTILE),), tables=(table,))
    found = Reader(html(HOSTILE, [section], {"map.svg": picture}))
    assert "script" not in found.tags and "b" not in found.tags and found.tags.count("svg") == 1
    assert found.said.count(HOSTILE) >= 7 and "1,234" in found.said and "–" in found.said
    assert not any("://" in word for word in found.said)


def test_points_keep_their_directions_on_the_plane_and_prompts_are_rings():
    points = {"dots": [(0.0, 0.0), (4.0, 0.0)], "rings": [(0.0, 2.0)]}
    svg = ElementTree.fromstring(plane(points, [], label="map", rings=frozenset({"rings"})))
    dots, rings = (group for group in svg.iter("{http://www.w3.org/2000/svg}g"))
    (origin, right), (above,) = (
        [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in group if "cx" in dot.attrib]
        for group in (dots, rings)
    )
    assert right[0] > origin[0] and right[1] == origin[1]
    assert above[0] == origin[0] and above[1] < origin[1]
    assert right[0] - origin[0] == pytest.approx(2 * (origin[1] - above[1]))
    assert rings.attrib["fill"] == "none" != dots.attrib["fill"]


@given(st.integers(1, 10_000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_an_interval_holds_the_share_and_narrows_with_more_trials(counts: tuple[int, int]):
    hits, trials = counts
    low, high = wilson(hits, trials)
    assert 0 <= low <= hits / trials <= high <= 1
    more = wilson(4 * hits, 4 * trials)
    assert more.high - more.low < high - low
    mirrored = wilson(trials - hits, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)
