import json
import math
import re
import struct
import zlib
from html import unescape
from xml.etree import ElementTree

from bunbuku_pretrain.charts import Line, Mark, heat_map, line_chart, png, short, thinned
from hypothesis import given
from hypothesis import strategies as st

NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=32)
POINTS = st.lists(st.tuples(st.floats(0, 1e12), NUMBERS), max_size=60)


@given(POINTS, st.text(), st.booleans())
def test_whatever_the_numbers_and_names_a_chart_is_well_formed(points: list[tuple[float, float]], name: str, log: bool):
    svg = line_chart([Line(name, points)], title=name, y_label=name, marks=[Mark(1.0, name, name)], log=log)
    assert not svg or _parsed(svg).tag == "svg"


def test_text_cannot_leave_its_place():
    hostile = "</title></svg><script>alert(1)</script>\" onload='x'"
    svg = line_chart(
        [Line(hostile, [(0, 1), (1, 2)])], title=hostile, y_label=hostile, marks=[Mark(0.5, hostile, hostile)]
    )
    svg += heat_map([hostile], [(1, [0.5])], title=hostile, marks=[Mark(0.5, hostile, hostile)])
    assert "<script" not in svg
    tree = ElementTree.fromstring(f"<div>{svg}</div>")
    assert not [node for node in tree.iter() if "onload" in node.attrib]


def test_a_chart_without_a_finite_number_is_no_chart():
    assert line_chart([Line("loss", [(0, math.nan), (1, math.inf)])], title="loss", y_label="nats") == ""
    assert line_chart([Line("norm", [(0, 0.0), (1, -1.0)])], title="norm", y_label="norm", log=True) == ""
    assert heat_map(["1"], [(1, [0.0])], title="nothing") == ""


@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(-100, 100)), min_size=1, max_size=3000, unique_by=lambda p: p[0]
    )
)
def test_thinning_keeps_every_peak_and_the_order(points: list[tuple[float, float]]):
    points.sort()
    kept = thinned(points, most=100)
    assert len(kept) <= 110
    assert kept == sorted(kept) and set(kept) <= set(points)
    assert max(y for _, y in kept) == max(y for _, y in points)
    assert min(y for _, y in kept) == min(y for _, y in points)


def test_a_map_has_the_largest_of_what_falls_into_a_column():
    columns = [(float(step), [1.0, 2.0]) for step in range(1, 321)]
    columns[200] = (201.0, [1.0, 50.0])
    svg = heat_map(["a", "b"], columns, title="norms")
    found = json.loads(unescape(re.search(r'data-values="([^"]*)"', svg)[1]))  # type: ignore[index]
    assert len(found) == 160
    assert [column for column in found if column != [1.0, 2.0]] == [[1.0, 50.0]]
    assert found.index([1.0, 50.0]) == 100


def test_a_png_holds_the_pixels_it_was_given():
    pixels = [[0, 1, 64], [2, 3, 4]]
    chunks, data = {}, png(pixels)[8:]
    while data:
        size, name = struct.unpack(">I4s", data[:8])
        assert zlib.crc32(data[4 : 8 + size]) == struct.unpack(">I", data[8 + size : 12 + size])[0]
        chunks[name], data = data[8 : 8 + size], data[12 + size :]
    assert struct.unpack(">IIB", chunks[b"IHDR"][:9]) == (3, 2, 8)
    assert zlib.decompress(chunks[b"IDAT"]) == b"\0\0\1\x40\0\2\3\4"
    assert len(chunks[b"PLTE"]) == 3 * 65


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_label_is_short_and_close_to_its_number(value: float):
    text = short(value)
    number = (
        float(text[:-1]) * {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[text[-1]] if text[-1] in "kMGT" else float(text)
    )
    assert len(text) <= 10 or abs(value) > 1e15
    assert math.isclose(number, value, rel_tol=0.06, abs_tol=0)


def _parsed(svg: str) -> ElementTree.Element:
    # Characters that XML has no place for are no matter of escaping; a browser's HTML parser takes them.
    return ElementTree.fromstring(re.sub(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", svg))
