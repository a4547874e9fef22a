"""The demo set: what it promises about its files, its boxes and its repeatability."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from kdyolo.datasets import demo, demo_scene

SIZE = 128


def read_labels(folder: Path) -> dict[str, np.ndarray]:
    """Labels (N, 5) by image stem."""
    return {
        path.stem: np.array([line.split() for line in path.read_text().splitlines()], np.float64).reshape(-1, 5)
        for path in sorted((folder / "labels").iterdir())
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo.generate(tmp_path_factory.mktemp("demo") / "set", images=60, imgsz=SIZE, seed=3)


def test_writes_one_label_file_per_image_and_nothing_else(dataset: Path) -> None:
    assert sorted(path.name for path in dataset.iterdir()) == ["data.yaml", "images", "labels"]
    stems = [path.stem for path in sorted((dataset / "images").glob("*.jpg"))]
    assert len(stems) == 60
    assert stems == list(read_labels(dataset))


def test_data_yaml_holds_only_the_names(dataset: Path) -> None:
    assert yaml.safe_load((dataset / "data.yaml").read_text()) == {"names": dict(enumerate(demo.CLASSES))}


def test_images_have_the_asked_size_and_are_not_flat(dataset: Path) -> None:
    for path in (dataset / "images").iterdir():
        image = cv2.imread(str(path))
        assert image.shape == (SIZE, SIZE, 3)
        assert image.std() > 10


def test_labels_are_normalised_boxes_inside_the_image(dataset: Path) -> None:
    labels = np.concatenate(list(read_labels(dataset).values()))
    cls, centre, extent = labels[:, 0], labels[:, 1:3], labels[:, 3:]
    assert set(cls) == set(range(len(demo.CLASSES)))
    assert (extent > 0).all()
    assert (centre - extent / 2 >= -1e-6).all()
    assert (centre + extent / 2 <= 1 + 1e-6).all()


def test_box_sizes_follow_the_recipe(dataset: Path) -> None:
    extent = np.concatenate(list(read_labels(dataset).values()))[:, 3:]
    low, high = demo.LESION_DIAMETER
    assert low < np.median(extent) < high
    assert extent.max() < 2.5 * high


def test_few_images_have_no_lesion(dataset: Path) -> None:
    counts = [len(labels) for labels in read_labels(dataset).values()]
    assert 1 <= counts.count(0) <= 0.2 * len(counts)
    assert max(counts) <= demo.MAX_LESIONS


def test_same_seed_gives_the_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    one = demo.generate(tmp_path / "one", images=6, imgsz=SIZE, seed=1, workers=1)
    many = demo.generate(tmp_path / "many", images=6, imgsz=SIZE, seed=1, workers=4)
    assert contents(one) == contents(many)


def test_a_longer_set_begins_with_the_shorter_one_and_another_seed_differs(tmp_path: Path) -> None:
    short = contents(demo.generate(tmp_path / "short", images=2, imgsz=SIZE, seed=1))
    long = contents(demo.generate(tmp_path / "long", images=3, imgsz=SIZE, seed=1))
    other = contents(demo.generate(tmp_path / "other", images=2, imgsz=SIZE, seed=2))
    assert short.items() <= long.items()
    assert all(short[name] != other[name] for name in short if name.endswith(".jpg"))


def test_fills_an_empty_folder(tmp_path: Path) -> None:
    assert demo.generate(tmp_path, images=1, imgsz=SIZE) == tmp_path
    assert (tmp_path / "data.yaml").is_file()


def test_refuses_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="choose another folder"):
        demo.generate(tmp_path, images=1, imgsz=SIZE)
    assert contents(tmp_path) == {"mine.txt": b"keep"}


def test_leaves_the_folder_empty_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(demo, "_write_example", fail)
    with pytest.raises(OSError, match="disk full"):
        demo.generate(tmp_path / "set", images=2, imgsz=SIZE)
    assert list((tmp_path / "set").iterdir()) == []


@pytest.mark.parametrize("bad", [{"images": 0}, {"imgsz": 16}, {"seed": -1}, {"workers": 0}])
def test_refuses_numbers_out_of_range(tmp_path: Path, bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="need images"):
        demo.generate(tmp_path / "set", **bad)
    assert not (tmp_path / "set").exists()


def flat_leaf(alpha: np.ndarray) -> demo_scene.Leaf:
    return demo_scene.Leaf(np.full((*alpha.shape, 3), 0.2, np.float32), alpha.astype(np.float32))


def white_disc(_rng: object, _look: object, radius: float) -> tuple[np.ndarray, np.ndarray]:
    reach = int(2 * radius) + 1
    ys, xs = np.indices((2 * reach + 1, 2 * reach + 1)) - reach
    disc = (np.hypot(xs, ys) <= radius).astype(np.float32)
    return np.ones((*disc.shape, 3), np.float32), disc


@pytest.mark.parametrize("seed", range(20))
def test_boxes_are_tight_around_what_is_visible(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """White discs on grey leaves, one of which hides part of the other: what is white in the picture must be boxed."""
    monkeypatch.setattr(demo, "_lesion", white_disc)
    lower, upper = np.zeros((2, SIZE, SIZE))
    lower[:, 10:] = 1
    upper[SIZE // 2 :, : SIZE // 2] = 1
    leaves = [flat_leaf(lower), flat_leaf(upper)]
    labels = demo._infect(np.random.default_rng(seed), leaves)
    picture = np.zeros((SIZE, SIZE, 3), np.float32)
    for leaf in leaves:
        demo_scene.lay(picture, leaf)
    # The shading of the leaf tints a lesion by 0.75 at most, and the shadow of the upper leaf leaves 0.45 of it.
    white = picture.mean(axis=2) > 0.25

    boxed = np.zeros_like(white)
    for _, (x1, y1, x2, y2) in labels:
        inside = white[y1:y2, x1:x2]
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()
        boxed[y1:y2, x1:x2] = True
    assert labels
    assert not (white & ~boxed).any()


def test_mostly_hidden_lesions_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a leaf that is only a thin strip no lesion shows enough of itself."""
    monkeypatch.setattr(demo, "_lesion", white_disc)
    strip = np.zeros((SIZE, SIZE))
    strip[:, 60:62] = 1
    leaf = flat_leaf(strip)
    assert demo._infect(np.random.default_rng(0), [leaf]) == []
    assert leaf.colour.max() < 0.25


@pytest.mark.parametrize("name", demo.CLASSES)
def test_lesions_fill_the_size_they_are_asked_for(name: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        colour, alpha = demo._lesion(rng, demo._look(rng, demo.CLASSES.index(name)), radius=20)
        assert colour.shape == (*alpha.shape, 3)
        assert min(alpha.min(), colour.min()) >= 0
        assert max(alpha.max(), colour.max()) <= 1
        assert 0.5 < (alpha >= 0.5).sum() / (np.pi * 20**2) < 2.5
        assert not (alpha[[0, -1]] >= 0.5).any()


def test_recipe_is_consistent() -> None:
    assert tuple(demo.LOOKS) == demo.CLASSES
    assert sum(demo.CLASS_SHARES) == pytest.approx(1)
    assert 0 <= demo.LOOK_OVERLAP < 0.5
