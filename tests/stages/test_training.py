"""Lessons: repeated evenly, laid out as ultralytics reads them, without touching the user's images."""

from builders import tree_state, write_image

from kdyolo.stages import training
from kdyolo.stages.training import Lesson, lay_out, repeat
from kdyolo.storage import sha256_by_name


def lessons(folder, names):
    return [Lesson(write_image(folder / name, i), f"0 0.5 0.5 0.{i + 1} 0.1\n") for i, name in enumerate(names)]


def test_repeated_lessons_are_whole_rounds_and_a_seeded_rest(tmp_path):
    five = lessons(tmp_path, [f"{c}.png" for c in "abcde"])
    repeated = repeat(five, 13, seed=3)
    assert repeated == repeat(five, 13, seed=3)
    counts = [repeated.count(lesson) for lesson in five]
    assert sorted(counts) == [2, 2, 3, 3, 3]
    assert any(repeat(five, 13, seed=s) != repeated for s in range(5))
    assert repeat(five, 5, seed=0) == five


def test_names_that_meet_overwrite_neither_image_nor_label(tmp_path):
    """As links both names lead to the user's own files, so writing to one would change those."""
    given = lessons(tmp_path / "user", ["a.png", "a~2.png", "A.PNG", "pool-x.png"])
    given += [*lessons(tmp_path / "pool", ["pool-x.png", "pool-x.jpg"]), given[0], given[0]]
    before = tree_state(tmp_path / "user")
    lay_out(tmp_path / "view", given)
    assert {k: v[0] for k, v in tree_state(tmp_path / "user").items()} == {k: v[0] for k, v in before.items()}
    images = sorted((tmp_path / "view" / "images" / "train").iterdir())
    assert len(images) == len(given)
    assert len({p.stem.casefold() for p in images}) == len(given)
    label = {p.stem: p.read_text() for p in (tmp_path / "view" / "labels" / "train").iterdir()}
    pairs = sorted((p.read_bytes(), label[p.stem]) for p in images)
    assert pairs == sorted((lesson.image.read_bytes(), lesson.labels) for lesson in given)


def test_the_view_is_built_anew_and_hashed(tmp_path):
    three = lessons(tmp_path / "user", ["a.png", "b.png", "c.png"])
    (tmp_path / "view" / "labels" / "train").mkdir(parents=True)
    (tmp_path / "view" / "labels" / "train" / "stray.txt").write_text("0 0.5 0.5 1 1\n")
    images, digest = lay_out(tmp_path / "view", three)
    assert [image.stem for image in images] == [lesson.image.stem for lesson in three]
    labels = tmp_path / "view" / "labels" / "train"
    assert {p.name for p in labels.iterdir()} == {"a.txt", "b.txt", "c.txt"}
    assert digest == sha256_by_name(labels.iterdir())
    assert digest == lay_out(tmp_path / "view", three[::-1])[1]
    assert digest != lay_out(tmp_path / "view", [*three[:2], Lesson(three[2].image, "")])[1]


def test_where_links_are_impossible_images_are_copied(tmp_path, monkeypatch):
    def no_link(source, target):
        raise OSError("cross-device link")

    two = lessons(tmp_path / "user", ["a.png", "b.png"])
    monkeypatch.setattr(training.os, "link", no_link)
    lay_out(tmp_path / "view", two)
    copy = tmp_path / "view" / "images" / "train" / "a.png"
    assert copy.read_bytes() == two[0].image.read_bytes()
    assert copy.stat().st_nlink == 1
