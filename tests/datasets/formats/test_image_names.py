import pytest

from kdyolo.datasets.formats.image_names import ImageNames, split_of_file
from kdyolo.datasets.tree import Tree
from kdyolo.errors import ConfigError, UntrustedFileError


def match(tmp_path, known, written, file="x.json", allow_outside=False):
    finder = ImageNames(Tree(tmp_path, images=sorted(known)), allow_outside)
    return finder.match([name if isinstance(name, tuple) else (name,) for name in written], tmp_path / file)


@pytest.mark.parametrize(
    ("known", "written", "file", "found"),
    [
        (["a.jpg", "x/a.jpg"], "a.jpg", "f.json", "a.jpg"),
        (["a.jpg", "x/a.jpg"], "a.jpg", "x/f.json", "x/a.jpg"),
        (["images/a.jpg", "old/a.jpg"], "a.jpg", "annotations/f.json", "images/a.jpg"),
        (["x/images/a.jpg"], "a.jpg", "x/f.json", "x/images/a.jpg"),
        (["p/q/a.jpg"], "q/a.jpg", "f.json", "p/q/a.jpg"),
        (["p/q/a.jpg"], "q\\a.jpg", "f.json", "p/q/a.jpg"),
        (["p/q/a.jpg"], "./q/a.jpg", "f.json", "p/q/a.jpg"),
        (["p/A.JPG"], "a.jpg", "f.json", "p/A.JPG"),
        (["p/A.jpg", "q/a.jpg"], "a.jpg", "f.json", "q/a.jpg"),
        (["p/a.jpg"], "elsewhere/a.jpg", "f.json", "p/a.jpg"),
        (["train/a.jpg", "val/a.jpg"], "a.jpg", "val_labels.csv", "val/a.jpg"),
        (["train/a.jpg", "valid/a.jpg"], "a.jpg", "instances_val.json", "valid/a.jpg"),
        (["train2017/a.jpg", "val2017/a.jpg"], "a.jpg", "instances_val2017.json", "val2017/a.jpg"),
        (["s1/a.jpg", "s2/a.jpg"], "home/me/s2/a.jpg", "f.json", "s2/a.jpg"),
        (["my photo (1).jpg"], "my_photo_1.jpg", "f.json", "my photo (1).jpg"),
        (["a$b.jpg", "x/y.jpg"], "a$b.jpg", "f.json", "a$b.jpg"),
    ],
)
def test_names_find_their_image(tmp_path, known, written, file, found):
    result = match(tmp_path, known, [written], file)
    assert (result.found, result.ambiguous) == ({written: found}, {})


def test_nothing_is_guessed(tmp_path):
    result = match(tmp_path, ["p/a.jpg", "q/a.jpg", "q/b.jpg"], ["a.jpg", "b.png", "r/b.jpg", "s/b.jpg", "", "."])
    assert result.found == {}
    assert result.ambiguous == {"a.jpg": ["p/a.jpg", "q/a.jpg"]}


def test_an_image_that_has_its_name_is_not_given_to_another(tmp_path):
    assert match(tmp_path, ["p/a.jpg"], ["p/a.jpg", "q/a.jpg"]).found == {"p/a.jpg": "p/a.jpg"}
    both = match(tmp_path, ["p/a.jpg", "r/a.jpg"], ["p/a.jpg", "q/a.jpg"]).found
    assert both == {"p/a.jpg": "p/a.jpg", "q/a.jpg": "r/a.jpg"}


def test_other_spellings_are_tried_in_turn(tmp_path):
    result = match(tmp_path, ["a b.jpg", "c.jpg"], [("up/a%20b.jpg", "up/a b.jpg"), ("12345678-c.jpg", "c.jpg")])
    assert result.found == {"up/a%20b.jpg": "a b.jpg", "12345678-c.jpg": "c.jpg"}


def test_the_same_name_twice_is_one_name(tmp_path):
    assert match(tmp_path, ["p/a.jpg"], ["x/a.jpg", "x/a.jpg"]).found == {"x/a.jpg": "p/a.jpg"}


@pytest.mark.parametrize(
    "name", ["../a.jpg", "x/../../a.jpg", "/a.jpg", "~/a.jpg", "C:/a.jpg", "c:\\a.jpg", "file:///a.jpg"]
)
def test_names_that_lead_out(tmp_path, name):
    (tmp_path / "d").mkdir()
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(UntrustedFileError):
        match(tmp_path / "d", ["a.jpg"], [name])
    allowed = match(tmp_path / "d", ["a.jpg"], [name], allow_outside=True).found[name]
    assert allowed == ("../a.jpg" if name in ("../a.jpg", "x/../../a.jpg") else "a.jpg")


def test_climbing_and_absolute_names_inside_are_fine(tmp_path):
    known = ["images/a.jpg", "images/b.jpg"]
    written = ["../images/a.jpg", str(tmp_path / "images/b.jpg")]
    assert list(match(tmp_path, known, written, "annotations/f.json").found.values()) == known


def test_a_name_that_cannot_be_a_path(tmp_path):
    with pytest.raises(ConfigError, match="not a path"):
        match(tmp_path, ["a.jpg"], ["../\0a.jpg"])
    assert match(tmp_path, ["a.jpg"], ["\0a.jpg"]).found == {"\0a.jpg": "a.jpg"}  # its name fits without the sign


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("annotations/instances_train2017.json", ("train",)),
        ("test_labels.csv", ("test",)),
        ("valid/_annotations.coco.json", ("val",)),
        ("Validation.json", ("val",)),
        ("trainer.json", ()),
        ("labels.json", ()),
    ],
)
def test_a_file_name_may_speak_of_a_split(file, split):
    assert split_of_file(file) == split
