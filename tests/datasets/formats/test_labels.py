import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdyolo.boxes import denormalise, xywh_to_xyxy
from kdyolo.datasets.formats.labels import MAX_LABEL_BYTES, label_text, parse_yolo, read_labels, write_labels
from kdyolo.errors import DatasetError

NAMES = ("tomato", "leaf", "stem")
GOOD = "1 0.5 0.5 0.2 0.2"


def parse(text, bad_label="drop_image", names=NAMES):
    data = text if isinstance(text, bytes) else text.encode()
    return parse_yolo(data, "labels/a.txt", names, bad_label)


def codes(parsed):
    return [finding.code for finding in parsed.findings]


def test_a_good_file():
    parsed = parse("0 0.5 0.5 0.2 0.4\n\n2 0.25 0.25 0.5 0.5\n")
    assert parsed.cls.tolist() == [0, 2]
    assert np.allclose(parsed.xywhn, [[0.5, 0.5, 0.2, 0.4], [0.25, 0.25, 0.5, 0.5]])
    assert (parsed.findings, parsed.reason) == ([], "")


@pytest.mark.parametrize("text", ["", "\n\n", "  \n"])
def test_fault_25_empty_file_is_background(text):
    parsed = parse(text)
    assert parsed.cls.shape == (0,)
    assert parsed.xywhn.shape == (0, 4)
    assert parsed.reason == ""


BAD_LINES = [
    ("27", "0 nan 0.5 0.2 0.2", "not_finite"),
    ("27", "0 0.5 inf 0.2 0.2", "not_finite"),
    ("27", "0 0.5 0.5 -Infinity 0.2", "not_finite"),
    ("27", "nan 0.5 0.5 0.2 0.2", "not_finite"),
    ("27", "0 1e999 0.5 0.2 0.2", "not_finite"),
    ("28", "0 1.2 0.5 0.2 0.2", "out_of_range"),
    ("28", "0 -0.2 0.5 0.2 0.2", "out_of_range"),
    ("32", "3 0.5 0.5 0.2 0.2", "class_id"),
    ("32", "-1 0.5 0.5 0.2 0.2", "class_id"),
    ("32", "0.5 0.5 0.5 0.2 0.2", "class_id"),
    ("32", "tomato 0.5 0.5 0.2 0.2", "class_id"),
    ("32", "unknown 0.5 0.5 0.2 0.2", "class_id"),
    ("32", "99999999999999999999 0.5 0.5 0.2 0.2", "class_id"),
    ("33", "0 0.5 0.5 0.2", "columns"),
    ("33", "0", "columns"),
    ("33", "0 0.5 0.5 0.2 0.2 1.5", "columns"),
    ("33", "0 0.5 0.5 0.2 0.2 0.1 0.2 0.3", "columns"),
    ("34", "0,0.5,0.5,0.2,0.2", "comma"),
    ("34", "0 0,5 0,5 0,2 0,2", "comma"),
    ("35", "0 320 240 100 80", "pixels"),
    ("36", "0 0.1 0.1 0.5 0.1 7.5 0.5", "pixels"),
    ("36", "0 0.1 0.1 0.5 0.1 1.3 0.5", "out_of_range"),
    ("-", "0 0.5 0.5 0.2 1_0", "not_a_number"),
    ("-", "0 0.5 0.5 0.2 ٠.٢", "not_a_number"),
]


@pytest.mark.parametrize(("fault", "line", "code"), BAD_LINES)
def test_fault_27_28_32_33_34_35_36_bad_line(fault, line, code):
    text = f"{GOOD}\n{line}\n"
    parsed = parse(text)
    assert parsed.reason == code
    assert [(f.code, f.severity, f.line, f.file) for f in parsed.findings] == [(code, "error", 2, "labels/a.txt")]
    kept = parse(text, "drop_line")
    assert (kept.reason, kept.cls.tolist()) == ("", [1])
    assert [(f.code, f.severity, f.line) for f in kept.findings] == [(code, "warning", 2)]


def test_fault_32_message_lists_the_classes():
    assert "0 tomato, 1 leaf, 2 stem" in parse("7 0.5 0.5 0.2 0.2").findings[0].message
    assert "write its number 1" in parse("leaf 0.5 0.5 0.2 0.2").findings[0].message


def test_fault_32_digits_as_names_are_still_numbers():
    assert parse("1 0.5 0.5 0.2 0.2", names=("5", "1")).cls.tolist() == [1]


def test_whole_numbers_written_as_decimals_are_class_ids():
    assert parse("2.0 0.5 0.5 0.2 0.2").cls.tolist() == [2]


def test_fault_34_35_messages_name_the_cause():
    assert "write 0.5, not 0,5" in parse("0 0,5 0,5 0,2 0,2").findings[0].message
    assert "pixels" in parse("0 320 240 100 80").findings[0].message


@pytest.mark.parametrize(
    ("line", "xyxyn"),
    [
        ("0 1.005 0.5 0.2 0.2", (0.905, 0.4, 1, 0.6)),
        ("0 -0.005 0.5 0.2 0.2", (0, 0.4, 0.095, 0.6)),
        ("0 0.9 0.5 0.4 0.2", (0.7, 0.4, 1, 0.6)),
        ("0 0.5 0.05 0.2 0.4", (0.4, 0, 0.6, 0.25)),
    ],
)
def test_fault_29_30_boxes_that_leave_the_image_are_clipped(line, xyxyn):
    parsed = parse(line)
    assert codes(parsed) == ["clipped"]
    assert np.allclose(xywh_to_xyxy(parsed.xywhn), [xyxyn])
    assert parsed.reason == ""


def test_rounding_of_the_last_digit_is_not_worth_a_note():
    assert parse("0 0.500001 0.5 1.0 1.0").findings == []


@pytest.mark.parametrize("size", ["0 0.2", "0.2 0", "1e-9 0.2", "-0.2 0.2", "0.2 -0.1"])
def test_fault_31_degenerate_boxes_are_dropped_and_counted(size):
    parsed = parse(f"0 0.5 0.5 {size}\n{GOOD}\n")
    assert (codes(parsed), parsed.reason, parsed.cls.tolist()) == (["degenerate"], "", [1])


def test_fault_33_a_sixth_column_is_a_confidence():
    parsed = parse("0 0.5 0.5 0.2 0.2 0.87")
    assert (codes(parsed), parsed.cls.tolist(), parsed.reason) == (["confidence_column"], [0], "")
    assert parsed.conf.tolist() == [0.87]


def test_fault_36_polygons_become_boxes_and_may_be_mixed_with_boxes():
    parsed = parse(f"2 0.1 0.2 0.5 0.3 0.3 0.8\n{GOOD}\n")
    assert (codes(parsed), parsed.cls.tolist()) == (["polygon"], [2, 1])
    assert np.allclose(xywh_to_xyxy(parsed.xywhn)[0], [0.1, 0.2, 0.5, 0.8])


def test_fault_37_duplicates_and_conflicts():
    parsed = parse(f"{GOOD}\n{GOOD}\n2 0.5 0.5 0.2 0.2\n")
    assert (codes(parsed), parsed.cls.tolist()) == (["duplicate_line", "class_conflict"], [1, 2])


@pytest.mark.parametrize("data", [b"\xef\xbb\xbf" + GOOD.encode(), GOOD.encode() + b"\r\n", GOOD.encode() + b"\r"])
def test_fault_38_bom_and_crlf_are_fine(data):
    parsed = parse(data)
    assert (parsed.cls.tolist(), parsed.findings) == ([1], [])


@pytest.mark.parametrize(
    "data", [GOOD.encode("utf-16"), GOOD.encode("utf-16-le"), b"caf\xe9 0.5 0.5 0.2 0.2", bytes(64)]
)
@pytest.mark.parametrize("policy", ["drop_image", "drop_line"])
def test_fault_38_other_encodings_are_refused(data, policy):
    assert parse(data, policy).reason == "bad_encoding"


def test_fault_39_huge_files_are_refused_before_parsing():
    data = (GOOD + "\n").encode() * (MAX_LABEL_BYTES // len(GOOD) + 1)
    start = time.perf_counter()
    assert parse(data).reason == "label_too_large"
    assert time.perf_counter() - start < 0.1


def test_many_bad_lines_do_not_flood_the_audit():
    parsed = parse("7 0.5 0.5 0.2 0.2\n" * 500)
    assert len(parsed.findings) == 21
    assert "480 more" in parsed.findings[-1].message


@pytest.mark.timeout(20)
def test_many_boxes_take_linear_time():
    lines = [f"0 {0.1 + i / 100_000:.6f} 0.5 0.1 0.1" for i in range(30_000)]
    assert len(parse("\n".join(lines)).cls) == 30_000


boxes = st.tuples(*[st.floats(0.001, 0.999)] * 2, *[st.floats(0.002, 1)] * 2)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 2), boxes), max_size=8), side=st.integers(10, 8000))
def test_round_trip_within_half_a_pixel(tmp_path_factory, rows, side):
    text = "".join(f"{c} {' '.join(map(str, box))}\n" for c, box in rows)
    parsed = parse(text)
    path = tmp_path_factory.mktemp("labels") / "a.txt"
    write_labels(path, parsed.cls, parsed.xywhn)
    cls, xywhn = read_labels(path)
    assert cls.tolist() == parsed.cls.tolist()
    assert np.abs(denormalise(xywhn - parsed.xywhn, side, side)).max(initial=0) <= 0.5
    assert ((xywhn >= 0) & (xywhn <= 1)).all()
    assert (xywhn[:, 2:] > 0).all()
    # What kdyolo writes, it accepts without a word and writes the same again.
    again = parse(path.read_bytes())
    assert again.findings == [] or set(codes(again)) <= {"duplicate_line", "class_conflict"}
    assert label_text(cls, xywhn) == path.read_text()


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet="0123456789.-+eE ,\n\tnaif", max_size=200))
def test_no_input_crashes_the_parser(data):
    parsed = parse(data, "drop_line")
    assert ((parsed.xywhn >= 0) & (parsed.xywhn <= 1)).all()
    assert all(math.isfinite(value) for value in parsed.xywhn.flat)


@pytest.mark.parametrize("text", ["0 0.5 0.5 0.2\n", "0 a b c d\n", "x 0.5 0.5 0.2 0.2\n"])
def test_read_labels_refuses_what_kdyolo_did_not_write(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(DatasetError, match=r"a\.txt"):
        read_labels(tmp_path / "a.txt")
    with pytest.raises(DatasetError, match="missing"):
        read_labels(tmp_path / "none.txt")
