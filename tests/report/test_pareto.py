"""The plot of accuracy against cost: its front, and labels that do not cover one another."""

import itertools
import math
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from kdyolo.language import language
from kdyolo.report.pareto import Point, _scale, front, pareto_plot, place_labels

POINTS = st.lists(
    st.builds(
        Point,
        st.sampled_from(["teacher", "student", "control"]),
        st.sampled_from(["1 first", "12 a rather long name of it", "teacher yolov5x (3)"]),
        st.floats(0.5, 300),
        st.floats(0, 1),
    ),
    min_size=1,
    max_size=25,
)


@given(POINTS)
def test_the_front_beats_all_others_and_nothing_beats_it(points):
    best = front(points)
    for point in points:
        assert any(b.cost <= point.cost and b.score >= point.score for b in best)
    for a, b in itertools.pairwise(best):
        assert a.cost < b.cost
        assert a.score < b.score


@given(POINTS)
@settings(max_examples=15, deadline=None)
def test_labels_cover_neither_one_another_nor_a_marker(points):
    axes = Figure(figsize=(6.6, 4.4), layout="constrained").add_subplot()
    _scale(axes, points)
    boxes = place_labels(axes, points)
    inside = axes.get_window_extent()
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
        assert inside.x0 <= box.x0 <= box.x1 <= inside.x1
        for point in points:
            x, y = axes.transData.transform((point.cost, point.score))
            assert not (box.x0 < x < box.x1 and box.y0 < y < box.y1)
    for text in axes.texts:
        assert math.isfinite(sum(text.xyann))


def test_all_labels_of_a_few_points_are_there_and_the_same_points_give_the_same_plot():
    points = [Point("student", f"{i} run", 10.0, 0.5 + i / 500, 0.01) for i in range(6)]
    svg = pareto_plot(points, "Accuracy against time, table 1", "time", "ms")
    assert svg == pareto_plot(points, "Accuracy against time, table 1", "time", "ms")
    texts = re.sub(r"<[^>]*>", "\n", svg)
    assert all(f"{i} run" in texts for i in range(6))


def test_in_portuguese_numbers_have_commas_and_the_axes_are_named_so():
    points = [Point("student", "1 run", 1.5, 0.51), Point("teacher", "professor (1)", 2.25, 0.62)]
    svg = pareto_plot(points, "Acurácia", "tempo mediano", "ms", language("pt"))
    texts = re.sub(r"<[^>]*>", "\n", svg)
    assert "tempo mediano (ms, escala logarítmica)" in texts
    assert "mAP50-95 no teste" in texts
    assert re.findall(r"^\s*\d+\.\d+\s*$", texts, re.MULTILINE) == []
    assert "1,5" in texts.split()
    assert '"2,2","0,620"' in svg
