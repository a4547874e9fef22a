import numpy as np
from builders import checked
from hypothesis import given, settings
from hypothesis import strategies as st

from kdyolo.boxes import iou_matrix, xywh_to_xyxy
from kdyolo.datasets.auditing.box_table import BoxTable

box = st.tuples(st.integers(0, 2), *[st.sampled_from((0.3, 0.31, 0.5))] * 2, *[st.sampled_from((0.2, 0.21, 0.4))] * 2)


def test_a_table_without_boxes():
    for samples in ([], [checked("a.jpg", boxes=())]):
        table = BoxTable.of(samples)
        assert len(table) == 0
        assert table.counts.tolist() == [0] * len(samples)
        assert [len(part) for part in table.overlapping(0.9)] == [0, 0]
        assert list(table.by_image(np.zeros(0, dtype=np.int64))) == []


def test_boxes_know_their_image_and_their_place_in_it():
    samples = [checked("a.jpg", boxes=[(0, 0.5, 0.5, 0.1, 0.1)] * 2, size=(100, 50)), checked("b.jpg", boxes=())]
    samples.append(checked("c.jpg", boxes=[(1, 0.5, 0.5, 0.2, 0.2)], size=(30, 20)))
    table = BoxTable.of(samples)
    assert table.image.tolist() == [0, 0, 2]
    assert table.row.tolist() == [0, 1, 0]
    assert table.counts.tolist() == [2, 0, 1]
    assert table.side.tolist() == [[100, 50], [100, 50], [30, 20]]
    chosen = [(sample.name, rows) for sample, rows in table.by_image(np.array([2, 1, 1]))]
    assert chosen == [("a.jpg", (1,)), ("c.jpg", (0,))]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(box, max_size=12), max_size=5))
def test_overlaps_are_those_of_a_plain_search(images):
    samples = [checked(f"{i}.jpg", boxes=boxes) for i, boxes in enumerate(images)]
    expected = set()
    for i, sample in enumerate(samples):
        xyxyn = xywh_to_xyxy(sample.xywhn)
        expected |= {(i, a, b) for a, b in np.argwhere(iou_matrix(xyxyn, xyxyn) >= 0.9 + 1e-9).tolist() if a < b}
    table = BoxTable.of(samples)
    first, second = table.overlapping(0.9)
    found = {
        (int(table.image[a]), *sorted((int(table.row[a]), int(table.row[b]))))
        for a, b in zip(first, second, strict=True)
        if table.image[a] == table.image[b]
    }
    assert found == expected
    assert len(first) == len(expected)


def test_an_image_with_very_many_boxes_takes_linear_time():
    rows = [(0, 0.1 + i * 0.8 / 50_000, 0.5, 0.0001, 0.1) for i in range(50_000)]
    first, _ = BoxTable.of([checked("a.jpg", boxes=rows)]).overlapping(0.9)
    assert len(first) == 0
