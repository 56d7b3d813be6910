"""What is drawn: nothing that matters is lost on the way from values to a picture."""

import re
from itertools import pairwise

import pytest
from bunbuku_eval.charts import Series, line_chart, thinned, ticks
from bunbuku_eval.graph import GAP, NODE_WIDTH, Vertex, depths, draw, spread
from hypothesis import example, given
from hypothesis import strategies as st

values = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


@given(values, st.floats(1e-3, 1e6), st.integers(3, 10))
@example(1.0, 400_001.0, 3)  # a step of half a million has no multiple there
def test_ticks_lie_inside_at_even_distances_and_are_neither_none_nor_a_crowd(low, span, about) -> None:
    found = ticks(low, low + span, about=about)
    assert 1 <= len(found) <= about + 1
    assert all(low - span * 1e-6 <= tick <= low + span * (1 + 1e-6) for tick in found)
    steps = [after - before for before, after in pairwise(found)]
    assert steps == pytest.approx(steps[:1] * len(steps), rel=1e-4)


@given(st.lists(values, min_size=1, max_size=3000), st.integers(10, 200))
def test_thinning_keeps_the_extremes_and_the_order(heights, most) -> None:
    points = [(float(x), y) for x, y in enumerate(heights)]
    kept = thinned(points, most=most)
    assert len(kept) <= most + 2
    assert kept == sorted(kept) and set(kept) <= set(points)
    assert {min(y for _, y in points), max(y for _, y in points)} <= {y for _, y in kept}


def test_a_line_runs_through_its_points_and_hostile_names_are_text() -> None:
    svg = line_chart([Series("<b>", ((0, 0.0), (10, 5.0)))], title='"', x_label="step", y_label="loss")
    assert "<b>" not in svg and "&lt;b&gt;" in svg
    (line,) = re.findall(r'<polyline[^>]*points="([^"]*)"', svg)
    (x0, y0), (x1, y1) = (tuple(map(float, pair.split(","))) for pair in line.split())
    assert x0 < x1 and y0 > y1  # upwards on paper is less in SVG


def test_undefined_points_are_left_out_and_no_point_is_no_chart() -> None:
    gaps = Series("loss", ((0, float("nan")), (1, 2.0), (2, float("inf")), (3, 1.0)))
    svg = line_chart([gaps], title="t", x_label="x", y_label="y")
    assert "nan" not in svg and "inf" not in svg
    assert line_chart([Series("loss", ())], title="t", x_label="x", y_label="y") == ""


@given(st.lists(values, min_size=1, max_size=12))
def test_spread_keeps_order_and_distance_and_moves_nothing_that_need_not_move(wanted) -> None:
    widths = [10.0] * len(wanted)
    placed = spread(wanted, widths, gap=2.0)
    assert all(after - before >= 12 - 1e-6 for before, after in pairwise(placed))
    apart = [100.0 * index for index in range(len(wanted))]
    assert spread(apart, widths, gap=2.0) == pytest.approx(apart)


graphs = st.integers(2, 9).flatmap(
    lambda size: st.lists(
        st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)).filter(lambda pair: pair[0] < pair[1]),
        max_size=20,
    ).map(lambda pairs: ([str(n) for n in range(size)], [(str(a), str(b)) for a, b in pairs]))
)


@given(graphs)
def test_what_is_made_is_drawn_below_what_it_is_made_from(graph) -> None:
    keys, edges = graph
    found = depths(keys, edges)
    assert all(found[source] < found[made] for source, made in edges)
    svg = draw([Vertex(key, "corpus", key, "stage", "", "#") for key in keys], edges, title="g")
    assert svg.count('class="box"') == len(keys)
    assert svg.count('class="edge"') == len(set(edges))
    rows: dict[float, list[float]] = {}
    for x, y in re.findall(r'class="box" x="([-\d.]+)" y="([-\d.]+)"', svg):
        rows.setdefault(float(y), []).append(float(x))
    for places in rows.values():
        places.sort()
        assert all(after - before >= NODE_WIDTH + GAP - 0.2 for before, after in pairwise(places))
