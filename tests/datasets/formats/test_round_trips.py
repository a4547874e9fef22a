"""Every format out and in again: no box is lost, none moves by half a pixel."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from builders import write_image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from label_files import load

from kdyolo.boxes import denormalise, xywh_to_xyxy, xyxy_to_xywh
from kdyolo.config import AuditSettings
from kdyolo.datasets.auditing.checks import check_files
from kdyolo.datasets.formats.convert import TARGETS, write
from kdyolo.datasets.sample import Dataset, Sample, no_confidences
from kdyolo.progress import Silent

NAMES = ("zebra", "ant <b> & \"c\" 'd'", "größe, 象", "=1+1")
SIZES = ((64, 48), (37, 91), (200, 11))
WITH_SCORES = {"yolo": False, "coco": True, "voc": False, "label-studio": True, "cvat": True}
FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def boxes(draw):
    """Class ids, xywhn and scores of up to four boxes that differ, from a hair to the whole image."""
    corner = st.integers(0, 9_990)
    rows = {}
    for _ in range(draw(st.integers(0, 4))):
        x, y = draw(corner), draw(corner)
        w, h = draw(st.integers(10, 10_000 - x)), draw(st.integers(10, 10_000 - y))
        rows[draw(st.integers(0, len(NAMES) - 1)), x, y, w, h] = draw(st.integers(0, 1000)) / 1000
    xyxy = np.array([(x, y, x + w, y + h) for _, x, y, w, h in rows], dtype=np.float64).reshape(-1, 4) / 10_000
    cls = np.array([row[0] for row in rows], dtype=np.int64)
    return cls, xyxy_to_xywh(xyxy), np.array(list(rows.values()), dtype=np.float64)


images = st.lists(
    st.tuples(boxes(), st.sampled_from([(), ("train",), ("val",), ("test",)]), st.booleans()), min_size=1, max_size=4
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """The folder of four images, and what the check said of them."""
    folder = tmp_path_factory.mktemp("pictures")
    samples = []
    for number in range(4):
        name = f"{number % 2}/pic {number}.png"
        samples.append(Sample(write_image(folder / name, number, SIZES[number % len(SIZES)]), name))
    check_files(Dataset(folder, "images", (), samples), AuditSettings(), Silent())
    return folder, samples


def built(pictures, content, scores):
    """A checked data set; the first image has a box, so that there is something to read."""
    folder, checked = pictures
    samples = []
    for picture, ((cls, xywhn, conf), split, labelled) in zip(checked, content, strict=False):
        if not samples and not len(cls):
            cls, xywhn, conf = np.array([1]), np.array([[0.5, 0.5, 0.25, 0.5]]), np.array([0.5])
        label = picture.image.with_suffix(".txt") if labelled or len(cls) else None
        conf = conf if scores else no_confidences()
        samples.append(Sample(picture.image, picture.name, split, label, cls, xywhn, conf, check=picture.check))
    return Dataset(folder, "images", NAMES, samples)


def same(before, after, width, height, scores):
    """Each box has its partner: the same class, no edge half a pixel off, and its score where the format has one."""
    assert len(before.cls) == len(after.cls)
    ours, theirs = (denormalise(xywh_to_xyxy(s.xywhn), width, height) for s in (before, after))
    left = list(range(len(theirs)))
    for i, corners in enumerate(ours):
        near = min(left, key=lambda j: np.abs(theirs[j] - corners).max() + 1000 * (before.cls[i] != after.cls[j]))
        assert np.abs(theirs[near] - corners).max() < 0.5
        assert before.cls[i] == after.cls[near]
        if scores:
            assert abs(before.conf[i] - after.conf[near]) < 1e-5
        left.remove(near)


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("to", TARGETS)
@FEW
@given(content=images)
def test_every_box_comes_back(pictures, to, scores, content):
    with TemporaryDirectory() as place:
        dataset = built(pictures, content, scores)
        (out := Path(place) / "out").mkdir()
        facts = write(dataset, to, out, "out", Silent())
        back = load(out, format=to)
        assert back.format == to
        assert facts["images"] == len(back.samples) == len(dataset.samples)
        assert not [finding for finding in back.findings if finding.severity == "error"]
        found = {Path(sample.name).stem: sample for sample in back.samples}
        for sample in dataset.samples:
            twin = found[Path(sample.name).stem]
            twin.cls = np.array([NAMES.index(back.names[c]) for c in twin.cls], dtype=np.int64)
            same(sample, twin, sample.check.width, sample.check.height, scores and WITH_SCORES[to])
            if not (to == "label-studio" and scores and not len(sample.cls)):
                assert (twin.label is None) == (sample.label is None)
            if sample.label is not None or to in ("yolo", "voc", "label-studio"):
                assert twin.given == sample.given


@pytest.mark.parametrize("to", TARGETS)
def test_unlabelled_is_not_background(tmp_path, pictures, to):
    nothing = (np.zeros(0, dtype=np.int64), np.zeros((0, 4)), np.zeros(0))
    dataset = built(pictures, [(nothing, (), True), (nothing, (), False), (nothing, (), True)], False)
    (tmp_path / "out").mkdir()
    write(dataset, to, tmp_path / "out", "out", Silent())
    assert [sample.label is not None for sample in load(tmp_path / "out").samples] == [True, False, True]


def test_boxes_that_leave_the_image_by_rounding_are_written_inside(tmp_path, pictures):
    box = (np.array([0]), np.array([[0.5, 0.5, 1.00001, 1.00001]]), np.array([0.5]))
    dataset = built(pictures, [(box, (), True)], True)
    (tmp_path / "out").mkdir()
    write(dataset, "label-studio", tmp_path / "out", "out", Silent())
    (task,) = json.loads((tmp_path / "out/tasks.json").read_text())
    value = task["predictions"][0]["result"][0]["value"]
    assert [value[key] for key in ("x", "y", "width", "height")] == [0, 0, 100, 100]


@pytest.mark.parametrize("to", ["yolo", "coco", "cvat"])
def test_the_order_of_classes_and_those_without_boxes_stay(tmp_path, pictures, to):
    dataset = built(pictures, [((np.zeros(0, int), np.zeros((0, 4)), np.zeros(0)), (), True)], False)
    (tmp_path / "out").mkdir()
    write(dataset, to, tmp_path / "out", "out", Silent())
    assert load(tmp_path / "out").names == NAMES


@FEW
@given(content=images)
def test_pycocotools_reads_what_we_write(pictures, content):
    from pycocotools.coco import COCO

    with TemporaryDirectory() as place:
        dataset = built(pictures, content, True)
        (out := Path(place) / "out").mkdir()
        write(dataset, "coco", out, "out", Silent())
        seen = 0
        for file in sorted((out / "annotations").iterdir()):
            coco = COCO(str(file))
            names = [category["name"] for category in coco.loadCats(sorted(coco.getCatIds()))]
            assert tuple(names) == NAMES
            for image in coco.loadImgs(coco.getImgIds()):
                sample = next(s for s in dataset.samples if Path(s.name).stem == Path(image["file_name"]).stem)
                assert (image["width"], image["height"]) == (sample.check.width, sample.check.height)
                found = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
                x, y, w, h = np.array([a["bbox"] for a in found]).reshape(-1, 4).T
                expected = denormalise(xywh_to_xyxy(sample.xywhn), sample.check.width, sample.check.height)
                assert np.allclose(np.stack([x, y, x + w, y + h], axis=1), expected, atol=3e-4)
                assert [a["category_id"] - 1 for a in found] == sample.cls.tolist()
                assert all(a["area"] == pytest.approx(a["bbox"][2] * a["bbox"][3], abs=1e-3) for a in found)
                seen += 1
        assert seen == sum(sample.label is not None for sample in dataset.samples)


def test_pycocotools_takes_written_scores_as_results(tmp_path, pictures):
    """Boxes with scores can be judged against the boxes themselves: a perfect mAP."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(1)
    corners = np.sort(rng.random((4, 3, 2, 2)), axis=2).reshape(4, 3, 4)
    content = [((rng.integers(0, 4, 3), xyxy_to_xywh(xyxy), rng.random(3)), (), True) for xyxy in corners]
    dataset = built(pictures, content, True)
    (tmp_path / "out").mkdir()
    write(dataset, "coco", tmp_path / "out", "out", Silent())
    file = tmp_path / "out/annotations/instances.json"
    truth = COCO(str(file))
    judge = COCOeval(truth, truth.loadRes(json.loads(file.read_text())["annotations"]), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    assert judge.stats[0] == pytest.approx(1.0)
