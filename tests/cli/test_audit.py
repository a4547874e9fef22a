import shutil

import pytest
from builders import make_yolo_dataset, tree_state


@pytest.fixture
def good(tmp_path):
    return make_yolo_dataset(tmp_path / "good", n=12, boxes=30)


@pytest.fixture
def leaking(tmp_path):
    folder = make_yolo_dataset(tmp_path / "leaking", splits={"train": 12, "val": 10, "test": 20})
    shutil.copy(folder / "images/train/img000.jpg", folder / "images/test/img022.jpg")
    shutil.copy(folder / "labels/train/img000.txt", folder / "labels/test/img022.txt")
    return folder


def test_a_good_set_gives_0_and_a_sentence(kdyolo, good):
    done = kdyolo("audit", good)
    assert done.code == 0
    assert done.stdout.strip() == "Nothing is wrong with these 12 images, as far as kdyolo can see."
    assert "Checking images" in done.stderr


def test_json_is_one_object(kdyolo, good):
    done = kdyolo("audit", good, "--json")
    assert (done.code, done.json["images"], done.json["findings"]) == (0, 12, [])


def test_errors_give_3_and_the_whole_result(kdyolo, leaking):
    done = kdyolo("audit", leaking, "--json")
    assert done.code == 3
    (finding,) = done.json["findings"]
    assert (finding["code"], finding["severity"], finding["count"]) == ("split_leak", "error", 1)
    assert finding["files"] == ["images/test/img022.jpg"]
    assert finding["items"][0]["partner"] == "images/train/img000.jpg"
    assert "kdyolo split" in finding["todo"]


def test_a_person_reads_what_to_do_and_a_verdict(kdyolo, leaking):
    done = kdyolo("audit", leaking)
    assert done.code == 3
    for shown in ("split_leak", "images/test/img022.jpg", "Identical images in two splits: Let kdyolo make"):
        assert shown in done.stdout
    assert "1 of 20 test images is identical to a train image" in done.stdout.splitlines()[-1]


def test_warnings_count_when_strict(kdyolo, good):
    (good / "labels/img003.txt").unlink()
    assert kdyolo("audit", good).code == 0
    strict = kdyolo("audit", good, "--strict")
    assert strict.code == 3
    assert "missing_label" in strict.stdout


def test_notes_never_fail(kdyolo, good):
    (good / "labels/img003.txt").write_text("0 0.9 0.5 0.4 0.2\n")
    done = kdyolo("audit", good, "--strict", "--json")
    assert (done.code, done.json["notes"], done.json["warnings"]) == (0, 1, 0)


def test_quiet_says_nothing_but_still_judges(kdyolo, leaking):
    done = kdyolo("audit", leaking, "--quiet")
    assert (done.code, done.stdout, done.stderr) == (3, "", "")


def test_settings_and_format(kdyolo, good, tmp_path):
    assert kdyolo("audit", good, "-S", "audit.min_side=60", "--json").json["quarantined"] == 12
    (tmp_path / "mine.yaml").write_text("audit:\n  min_side: 60\n")
    assert kdyolo("audit", good, "-c", "mine.yaml", "--json").json["reasons"] == {"too_small": 12}
    unknown = kdyolo("audit", good, "-S", "audit.min_sides=60")
    assert (unknown.code, "Did you mean 'audit.min_side'" in unknown.stderr) == (2, True)
    assert kdyolo("audit", good, "--format", "voc", "--json").code == 3


def test_lists_are_cut_unless_all_is_asked_for(kdyolo, good, monkeypatch):
    monkeypatch.setattr("kdyolo.datasets.auditing.audit.MAX_LISTED", 2)
    for label in (good / "labels").iterdir():
        label.unlink()
    (good / "labels/img000.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    cut, everything = (kdyolo("audit", good, "--json", *more).json["findings"] for more in ((), ("--all",)))
    lists = [next(f for f in found if f["code"] == "missing_label") for found in (cut, everything)]
    assert [(f["count"], len(f["files"]), len(f["items"])) for f in lists] == [(11, 2, 2), (11, 11, 11)]


def test_the_page(kdyolo, leaking, tmp_path):
    before = tree_state(leaking)
    done = kdyolo("audit", leaking, "--html", "out/audit.html")
    assert "out/audit.html" in done.stdout
    assert "Identical images in two splits" in (tmp_path / "out/audit.html").read_text(encoding="utf-8")
    assert kdyolo("audit", leaking, "--html", "out/audit.html").code == 3  # replaced
    assert tree_state(leaking) == before


def test_the_page_replaces_nothing_of_the_user(kdyolo, leaking, tmp_path):
    (tmp_path / "thesis.html").write_text("mine")
    for place, code, told in (
        ("thesis.html", 5, "no page of an audit"),
        (leaking / "audit.html", 2, "never written to"),
        (tmp_path, 2, "is a folder"),
    ):
        done = kdyolo("audit", leaking, "--html", place)
        assert (done.code, told in done.stderr) == (code, True)
    assert (tmp_path / "thesis.html").read_text() == "mine"


@pytest.mark.parametrize(("yaml", "code"), [("download: x\nnames: [a]\n", 4), ("names: [a, a]\n", 2)])
def test_what_cannot_be_read_has_its_own_code(kdyolo, good, yaml, code):
    (good / "data.yaml").write_text(yaml)
    done = kdyolo("audit", good, "--json")
    assert (done.code, done.json["exit_code"]) == (code, code)


def test_a_folder_that_is_not_there(kdyolo):
    assert kdyolo("audit", "nowhere").code == 2
    assert kdyolo("audit").code == 2
