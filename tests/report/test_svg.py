"""Plots as drawings that carry their values."""

import html
import json
import math
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from kdyolo.report.svg import Line, draw_svg


def values_of(svg):
    return json.loads(html.unescape(re.match("<svg data-values='([^']*)' ", svg).group(1)))


def drawn(line):
    def draw(axes):
        axes.set(xlim=(0, 10), ylim=(0, 1))
        return [line]

    return draw_svg("A plot", (4, 3), draw)


def test_points_are_where_they_are_drawn():
    line = Line("{0}", (0, 10, 5), (0, 0, 1), [("a",), ("b",), ("c",)])
    svg = drawn(line)
    (found,) = values_of(svg)
    (left, bottom, _), (right, also_bottom, _), (middle, top, _) = found["points"]
    assert bottom == also_bottom
    assert abs(middle - (left + right) / 2) < 0.2
    assert 0 < top < bottom < 3 * 72
    assert 0 < left < right < 4 * 72
    frame = re.search(r'id="a-plot-patch_2">\s*<path d="M ([\d.]+) ([\d.]+)', svg)
    assert (left, bottom) == (round(float(frame[1]), 1), round(float(frame[2]), 1))


def test_bars_say_how_far_they_go_and_what_is_not_a_number_is_left_out():
    line = Line("{0}", (2.0, math.nan, -1.0), (0, 0.5, 1), [("a",), ("b",), ("c",)], [(0, 2), (0, 0), (0, -1)])
    (found,) = values_of(drawn(line))
    assert [point[2] for point in found["points"]] == ["a", "c"]
    (low, high), (below, zero) = found["spans"]
    assert below < zero == low < high


def test_a_line_without_a_number_is_no_line():
    assert values_of(drawn(Line("{0}", (math.nan,), (1,), [("a",)]))) == []


@settings(max_examples=30, deadline=None)  # each is a drawing
@given(st.text(), st.text())
def test_texts_come_back_as_they_were_and_cannot_leave_the_attribute(text, value):
    svg = drawn(Line(text, (1,), (1,), [(value,)]))
    (found,) = values_of(svg)
    assert (found["text"], found["points"][0][2]) == (text, value)
    attribute = svg[: svg.index("viewBox=")]
    assert not set("<>&") & set(attribute[4:])


def test_the_same_drawing_gives_the_same_bytes():
    line = Line("{0}", (1, 2), (0.1, 0.9), [("a",), ("b",)])
    assert drawn(line) == drawn(line)
