import numpy as np
import pytest
from label_files import bad, boxes_of, codes, images, load

from kdyolo.config import AuditSettings
from kdyolo.datasets.formats import csv_boxes
from kdyolo.datasets.formats.csv_boxes import is_csv
from kdyolo.errors import DatasetError, UntrustedFileError

HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


def write(file, *rows, header=HEADER):
    file.write_text(header + "".join(f"{row}\n" for row in rows))


def test_one_csv_a_folder(tmp_path):
    images(tmp_path, "train/a.jpg", "train/b.jpg", "test/a.jpg")
    write(
        tmp_path / "train_labels.csv", "a.jpg,64,48,owl,1,2,30,40", "a.jpg,64,48,ant,5,5,9,9", "b.jpg,64,48,owl,0,0,9,9"
    )
    write(tmp_path / "test_labels.csv", "a.jpg,64,48,ant,0,0,64,48")
    dataset = load(tmp_path)
    assert (dataset.format, dataset.names, codes(dataset)) == ("csv", ("ant", "owl"), [])
    assert [(s.name, s.given, len(s.cls)) for s in dataset.samples] == [
        ("test/a.jpg", ("test",), 1),
        ("train/a.jpg", ("train",), 2),
        ("train/b.jpg", ("train",), 1),
    ]
    assert boxes_of(dataset, "train/a.jpg") == [("owl", 1, 2, 30, 40), ("ant", 5, 5, 9, 9)]


def test_beside_the_images_in_any_order_of_columns(tmp_path):
    images(tmp_path / "valid", "a.jpg", "b.jpg", "c.jpg")
    rows = ['"cat, black",1,2,30,40,a.jpg,x', ",,,,,b.jpg,"]
    write(tmp_path / "valid/_annotations.csv", *rows, header="Class,xmin,ymin,xmax,ymax,filename,note\n")
    dataset = load(tmp_path)
    assert boxes_of(dataset, "a.jpg") == [("cat, black", 1, 2, 30, 40)]
    assert [f.file for f in dataset.findings if f.code == "missing_label"] == ["valid/c.jpg"]
    assert [sample.given for sample in dataset.samples] == [("val",)] * 3


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("1.jpg,64,48,cat,nan,2,30,40", "not_finite"),
        ("1.jpg,64,48,cat,1e999,2,30,40", "not_finite"),
        ("1.jpg,64,48,cat,left,2,30,40", "not_a_number"),
        ("1.jpg,64,48,cat,1,2,30", "columns"),
        ("1.jpg,64,48,cat,1,5,2,30,40", "columns"),
        ("1.jpg,64,48,,1,2,30,40", "bad_object"),
        ("1.jpg,64,48,cat,,2,30,40", "not_a_number"),
    ],
)
def test_bad_rows_are_told_by_line_and_take_one_image(tmp_path, row, code):
    images(tmp_path, *(f"{i}.jpg" for i in range(12)))
    write(tmp_path / "labels.csv", *(f"{i}.jpg,64,48,cat,1,2,30,40" for i in range(12)), row)
    dataset = load(tmp_path)
    assert bad(dataset) == {"1.jpg": code}
    assert [(f.code, f.file, f.line) for f in dataset.findings] == [(code, "labels.csv", 14)]
    lenient = load(tmp_path, AuditSettings(bad_label="drop_line"))
    assert (bad(lenient), len(lenient.samples[1].cls)) == ({}, 1)


def test_rows_without_a_name_and_sizes_that_disagree(tmp_path):
    images(tmp_path, "a.jpg")
    write(tmp_path / "labels.csv", "a.jpg,100,48,cat,1,2,30,40", ",64,48,cat,1,2,3,4", ",,,,,,,")
    dataset = load(tmp_path)
    assert [(f.code, f.message[:2]) for f in dataset.findings] == [("bad_entry", "1 "), ("size_mismatch", "Th")]
    assert boxes_of(dataset, "a.jpg") == [("cat", 1, 2, 30, 40)]


def test_fault_44_names_cannot_lead_out(tmp_path):
    images(tmp_path, "out.jpg", "d/a.jpg")
    write(tmp_path / "d/labels.csv", "../out.jpg,64,48,cat,1,2,3,4", "a.jpg,64,48,cat,1,2,3,4")
    with pytest.raises(UntrustedFileError):
        load(tmp_path / "d")


def test_faults_38_39_encoding_and_size(tmp_path, monkeypatch):
    images(tmp_path, "a.jpg")
    file = tmp_path / "labels.csv"
    write(file, "a.jpg,64,48,cat,1,2,30,40")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert boxes_of(load(tmp_path), "a.jpg") == [("cat", 1, 2, 30, 40)]
    write(file, "a.jpg,64,48,cat,1,2,30,40", "a.jpg,64,48," + "x" * 200_000 + ",1,2,30,40")
    with pytest.raises(DatasetError, match=r"line 3: field larger"):
        load(tmp_path)
    file.write_bytes(HEADER.encode() + b"a.jpg,64,48,\xff,1,2,3,4\n")
    with pytest.raises(DatasetError, match="UTF-8"):
        load(tmp_path)
    monkeypatch.setattr(csv_boxes, "MAX_BYTES", 10)
    with pytest.raises(DatasetError, match="over 0 MB"):
        load(tmp_path)


def test_xml_wins_where_both_exist(tmp_path):
    from builders import voc_xml

    images(tmp_path, "train/a.jpg")
    write(tmp_path / "train_labels.csv", "a.jpg,64,48,owl,1,2,30,40")
    (tmp_path / "train/a.xml").write_text(voc_xml([("cat", 1, 1, 20, 20)]))
    assert (load(tmp_path).format, load(tmp_path).names) == ("voc", ("cat",))
    assert load(tmp_path, format="csv").names == ("owl",)


def test_other_csv_files_are_none_of_ours(tmp_path):
    assert not is_csv(b"view,split,source,sha256\n")
    assert not is_csv(b"filename,class\n")
    assert is_csv(b'"filename","class","xmin","ymin","xmax","ymax"\r\n1,2')


def test_the_csv_of_cards_agrees_with_its_xml(real_dataset, tmp_path):
    import shutil

    source = real_dataset("cards")
    shutil.copytree(source, tmp_path / "cards", ignore=shutil.ignore_patterns("*.xml"))
    ours, theirs = load(tmp_path / "cards"), load(source)
    assert (ours.format, theirs.format, ours.names) == ("csv", "voc", theirs.names)
    for a, b in zip(ours.samples, theirs.samples, strict=True):
        assert (a.name, a.given, sorted(a.cls)) == (b.name, b.given, sorted(b.cls))
        assert np.allclose(np.sort(a.xywhn, axis=0), np.sort(b.xywhn, axis=0))
