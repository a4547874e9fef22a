"""The table keeps every box with its score; what becomes a label is a matter of thresholds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdyolo.boxes import Detections, denormalise, xywh_to_xyxy
from kdyolo.datasets.formats.labels import read_labels, write_labels
from kdyolo.pseudo.table import COLUMNS, judge, read_table, write_table


def detections(*rows):
    """Rows of x1, y1, x2, y2, score, class."""
    table = np.array(rows, dtype=float).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def test_each_class_has_its_threshold():
    found = detections((0, 0, 10, 10, 0.5, 0), (0, 0, 20, 20, 0.5, 1), (5, 5, 9, 9, 0.3, 1), (1, 1, 3, 3, 0.9, 0))
    labels = judge(found, [0.5, 0.6], 100, 50)
    assert labels.score.tolist() == [0.9, 0.5, 0.5, 0.3]
    assert labels.cls.tolist() == [0, 0, 1, 1]
    assert labels.kept.tolist() == [True, True, False, False]
    assert labels.xywhn[1].tolist() == [0.05, 0.1, 0.1, 0.2]


def test_equal_scores_keep_their_order():
    found = detections(*((i, 0, i + 5, 9, 0.5, 0) for i in range(5)))
    assert judge(found, [0.1], 100, 100).xywhn[:, 0].tolist() == [0.025, 0.035, 0.045, 0.055, 0.065]


def test_boxes_without_area_are_left_out():
    found = detections((5, 5, 5, 9, 0.9, 0), (5, 5, 5 + 1e-6, 9, 0.9, 0), (1, 1, 2, 2, 0.4, 0))
    assert judge(found, [0.1], 1000, 1000).score.tolist() == [0.4]


def test_boxes_that_are_equal_once_clipped_are_one():
    rows = [(-9, -9, 70, 70, 0.7, 0), (-5, -5, 80, 90, 0.9, 0), (-5, -5, 80, 90, 0.8, 1), (0, 0, 64, 63, 0.6, 0)]
    clipped = [(*np.clip(r[:4], 0, 64), *r[4:]) for r in rows]
    labels = judge(detections(*clipped), [0.1, 0.1], 64, 64)
    assert labels.score.tolist() == [0.9, 0.8, 0.6]
    assert labels.cls.tolist() == [0, 1, 0]


def test_nothing_found():
    labels = judge(detections(), [0.5, 0.5], 64, 64)
    assert labels.xywhn.shape == (0, 4)
    assert labels.kept.tolist() == []


@given(
    st.lists(
        st.tuples(*[st.floats(0, 1)] * 4, st.floats(0, 1), st.integers(0, 2)).map(
            lambda r: (min(r[0], r[2]), min(r[1], r[3]), max(r[0], r[2]), max(r[1], r[3]), r[4], r[5])
        ),
        max_size=6,
    ),
    st.integers(10, 4000),
    st.integers(10, 4000),
)
def test_whatever_is_found_is_a_label_our_reader_takes(tmp_path_factory, rows, width, height):
    scale = [width, height, width, height]
    found = detections(*((*(np.array(r[:4]) * scale), *r[4:]) for r in rows))
    labels = judge(found, [0.0, 0.0, 0.0], width, height)
    path = tmp_path_factory.mktemp("label") / "a.txt"
    write_labels(path, labels.cls, labels.xywhn)
    cls, xywhn = read_labels(path)
    np.testing.assert_array_equal(cls, labels.cls)
    np.testing.assert_allclose(xywhn, labels.xywhn, atol=1e-6)
    back = denormalise(xywh_to_xyxy(xywhn), width, height)
    assert (back >= -0.01).all()
    assert (back <= np.array(scale) + 0.01).all()
    assert all(len(line.split()) == 5 for line in path.read_text().splitlines())


@pytest.mark.parametrize("name", ["a.jpg", "nan", "=1+1", 'quo"te,comma', "Blätter 🍅.jpg", "1e5"])
def test_the_table_survives_a_round_trip(tmp_path, name):
    labels = judge(detections((10, 10, 20, 30, 0.123456789, 1), (0, 0, 9, 9, 0.05, 0)), [0.1, 0.1], 100, 100)
    path = tmp_path / "predictions.csv"
    write_table(path, {name: labels, "empty": judge(detections(), [0, 0], 9, 9)}, ["null", name], "abc")
    table = read_table(path)
    assert tuple(table.columns) == COLUMNS
    assert table["image"].tolist() == [name, name]
    assert table["class"].tolist() == [name, "null"]
    assert table["kept"].tolist() == [True, False]
    assert table["score"].tolist() == [0.123457, 0.05]
    assert table[["x", "y", "w", "h"]].iloc[0].tolist() == [0.15, 0.2, 0.1, 0.2]
    assert table["teacher_sha256"].tolist() == ["abc", "abc"]


def test_the_same_boxes_give_the_same_bytes(tmp_path):
    labels = {"a": judge(detections((10, 10, 20, 30, 1 / 3, 0)), [0.1], 100, 100)}
    for name in ("1.csv", "2.csv"):
        write_table(tmp_path / name, labels, ["x"], "abc")
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()
    assert b"\r" not in (tmp_path / "1.csv").read_bytes()


def test_no_boxes_at_all(tmp_path):
    write_table(tmp_path / "t.csv", {}, [], "")
    assert read_table(tmp_path / "t.csv").empty
