"""The student's loss with a teacher: what it adds, where, and what it leaves alone."""

import copy

import pytest
import torch

from kdyolo.engine.environment import harden

harden()
from ultralytics.cfg import get_cfg  # noqa: E402
from ultralytics.nn.tasks import DetectionModel  # noqa: E402

from kdyolo.distill import registry  # noqa: E402
from kdyolo.distill.criterion import ITEM, DistillLoss, _bins, _Deaf  # noqa: E402
from kdyolo.distill.outputs import HeadOutput  # noqa: E402
from kdyolo.engine.precision import Fp32DetectionLoss  # noqa: E402

NC, SIZE = 3, 64
CHANNELS = [64, 128, 256]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = DetectionModel("yolov5n.yaml", nc=NC, verbose=False)
    model.args = get_cfg()
    return model.train()


@pytest.fixture
def raw(model):
    torch.manual_seed(1)
    return model(torch.rand(2, 3, SIZE, SIZE))


def batch():
    boxes = torch.tensor([[0.4, 0.4, 0.4, 0.3], [0.7, 0.6, 0.3, 0.5], [0.5, 0.5, 0.6, 0.6]])
    return {"batch_idx": torch.tensor([0.0, 0, 1]), "cls": torch.tensor([[0.0], [2], [1]]), "bboxes": boxes}


def told(probs=0.9, spread=0.05, shift=0.0):
    """What a teacher that sees every label says: rows of each image."""
    given = batch()
    xy, wh = given["bboxes"][:, :2] + shift, given["bboxes"][:, 2:]
    rows = torch.full((3, NC + 8), 0.02)
    rows[torch.arange(3), given["cls"][:, 0].long()] = probs
    rows[:, NC : NC + 4] = spread
    rows[:, -4:] = torch.cat([xy - wh / 2, xy + wh / 2], 1)
    return rows[:2], rows[2:]


def zones(doubtful=(), unknown=()):
    """What the loader says of two images, the second one without zones."""
    found = [torch.tensor(rows).reshape(-1, width) for rows, width in ((doubtful, 4), (unknown, 4 + NC))]
    return {name: (rows, rows[:0]) for name, rows in zip(("ignored", "unknown"), found, strict=True)}


def objective(spec="response"):
    return registry.build(spec, CHANNELS, CHANNELS, NC)


def test_without_a_teacher_it_is_the_stock_loss_and_a_zero(model, raw):
    expected, items = Fp32DetectionLoss(model).loss(raw, batch())
    loss, more = DistillLoss(model, objective(), weight=3.0).loss(raw, batch())
    assert torch.equal(loss[:3], expected)
    assert loss[3] == more[ITEM] == 0
    assert list(more) == [*items, ITEM]


def test_a_replayed_teacher_adds_to_the_loss_and_leaves_the_labels_alone(model, raw):
    given = {**batch(), "teacher": told(), **zones()}
    expected, _ = Fp32DetectionLoss(model).loss(raw, batch())
    loss, items = DistillLoss(model, objective(), weight=2.0).loss(raw, given)
    once, _ = DistillLoss(model, objective(), weight=1.0).loss(raw, given)
    assert torch.equal(loss[:3], expected)
    assert loss[3] > 0
    assert torch.isclose(loss[3], 2 * once[3], rtol=1e-5)
    assert torch.isclose(items[ITEM] * 2, loss[3])  # times the images
    gradient = torch.autograd.grad(loss[3], [raw["scores"], raw["boxes"]])
    assert all(each.isfinite().all() and each.abs().sum() > 0 for each in gradient)


def test_where_the_teacher_said_nothing_nothing_is_replayed(model, raw):
    nothing = tuple(torch.full_like(rows, torch.nan) for rows in told())
    loss, _ = DistillLoss(model, objective(), weight=1.0).loss(raw, {**batch(), "teacher": nothing})
    assert loss[3] == 0
    first, second = told()
    half = (torch.cat([first[:1], first[1:] * torch.nan]), second * torch.nan)
    criterion = DistillLoss(model, objective(), weight=1.0)
    loss, _ = criterion.loss(raw, {**batch(), "teacher": half})
    touched = torch.autograd.grad(loss[3], raw["scores"])[0].abs().sum(1) > 0
    assert touched[0].any()
    assert not touched[1].any()


def test_a_batch_of_background_alone_is_no_fault(model, raw):
    empty = {"batch_idx": torch.zeros(0), "cls": torch.zeros(0, 1), "bboxes": torch.zeros(0, 4)}
    nothing = (torch.zeros(0, NC + 8), torch.zeros(0, NC + 8))
    loss, _ = DistillLoss(model, objective(), weight=1.0).loss(raw, {**empty, "teacher": nothing})
    assert loss[3] == 0
    assert loss[3].requires_grad
    assert loss[:3].isfinite().all()


def test_a_student_that_says_what_was_replayed_has_nothing_to_learn(model, raw):
    """The logits of the assigned locations are set to what the teacher is taken to say there."""
    given = {**batch(), "teacher": told(spread=0.0)}
    criterion = DistillLoss(model, objective("bckd:1+ld:1"), weight=1.0)
    heard = {}
    criterion._heard = lambda student, teacher: heard.update(student=student, teacher=teacher) or torch.zeros(())
    criterion.loss(raw, given)
    student, teacher = heard["student"], heard["teacher"]
    assert student.scores.shape == teacher.scores.shape == (1, NC, student.anchors.shape[0])
    total, _ = objective("bckd:1+ld:1")(teacher, teacher)
    assert float(total) == pytest.approx(0, abs=1e-6)
    best = teacher.scores.sigmoid().amax()
    assert float(best) == pytest.approx(0.9, abs=1e-3)  # at the best location as it was


def test_replayed_boxes_decode_to_where_they_lie(model, raw):
    given = {**batch(), "teacher": told(spread=0.0, shift=0.03)}
    criterion = DistillLoss(model, objective(), weight=1.0)
    heard = {}
    criterion._heard = lambda student, teacher: heard.update(teacher=teacher) or torch.zeros(())
    criterion.loss(raw, given)
    expected = torch.cat(told(spread=0.0, shift=0.03))[:, -4:] * SIZE
    teacher = heard["teacher"]
    distance, box = (teacher.xyxy()[0][:, None] - expected[None]).abs().amax(2).min(1)
    centres = teacher.anchors * teacher.strides
    inside = ((centres[:, None] > expected[None, :, :2]) & (centres[:, None] < expected[None, :, 2:])).all(2)
    inside = inside[torch.arange(len(box)), box]
    assert inside.sum() > 3
    assert float(distance[inside].max()) < 0.1  # px; a distance cannot be below 0


@pytest.mark.parametrize("distance", [0.0, 0.3, 3.0, 7.49, 14.9])
def test_a_sure_side_is_the_two_bins_that_dfl_teaches(distance):
    at, cell = torch.tensor([[20.0, 20.0]]), torch.tensor([[8.0]])
    corners = torch.tensor([[20 - distance, 18.0, 22.0, 22.0]]) * 8
    shares = _bins(corners, torch.zeros(1, 4), at, cell, 16).view(4, 16).softmax(1)
    low = int(distance)
    expected = torch.zeros(16)
    expected[low], expected[low + 1] = 1 - (distance - low), distance - low
    assert torch.allclose(shares[0], expected, atol=1e-4)


@pytest.mark.parametrize("deviation", [0.8, 1.5, 2.5])
def test_a_doubtful_side_keeps_its_mean_and_spread(deviation):
    at, cell = torch.tensor([[20.0, 20.0]]), torch.tensor([[8.0]])
    corners = torch.tensor([[12.6, 18.0, 22.6, 22.0]]) * 8
    shares = _bins(corners, torch.full((1, 4), deviation / 10), at, cell, 16).view(4, 16)[0].softmax(0)
    bins = torch.arange(16.0)
    mean = float((shares * bins).sum())
    assert mean == pytest.approx(7.4, abs=0.05)
    assert float((shares * (bins - mean) ** 2).sum().sqrt()) == pytest.approx(deviation, rel=0.1)


def test_ignored_places_are_no_background_and_labels_in_them_still_count(model, raw):
    plain, _ = Fp32DetectionLoss(model).loss(raw, batch())
    loss, _ = DistillLoss(model, None).loss(raw, {**batch(), **zones(doubtful=[[0.0, 0, 1, 1]])})
    assert loss[1] < plain[1]
    assert torch.equal(loss[[0, 2]], plain[[0, 2]])
    each = torch.autograd.grad(loss[1], raw["scores"])[0] != 0
    gradient = each.any(1)
    assert torch.equal(gradient, each.all(1))  # where there is a label, all classes are heard
    assert 0 < int(gradient[0].sum()) < gradient.shape[1]
    assert gradient[1].all()


def test_an_unknown_class_is_not_taught_as_background(model, raw):
    half = zones(unknown=[[0.0, 0, 0.5, 1, 0, 1, 0], [0.25, 0, 0.5, 1, 0, 0, 0]])  # class 1, left half of image 0
    loss, _ = DistillLoss(model, None).loss(raw, {**batch(), **half})
    silent = torch.autograd.grad(loss[1], raw["scores"])[0] == 0
    assert silent.any(2).tolist() == [[False, True, False], [False, False, False]]
    where = HeadOutput.from_raw(raw, model.stride.tolist())
    x = (where.anchors * where.strides)[:, 0]
    assert not silent[0, 1][x > SIZE / 2].any()
    assert silent[0, 1][x < SIZE / 2].all()  # also where a box of another class is labelled


def test_labels_of_an_unknown_class_are_heard(model, raw):
    """Two blended images, of which one has such a label."""
    whole = zones(unknown=[[0.0, 0, 1, 1, 0, 0, 1]])
    loss, _ = DistillLoss(model, None).loss(raw, {**batch(), **whole})
    heard = torch.autograd.grad(loss[1], raw["scores"])[0] != 0
    plain, _ = Fp32DetectionLoss(model).loss(raw, batch())
    assert torch.equal(loss[[0, 2]], plain[[0, 2]])
    assert 0 < int(heard[0, 2].sum()) < heard.shape[2] / 2
    assert heard[0, :2].all()
    assert heard[1].all()


def test_unknown_classes_are_no_background_beside_a_teacher_that_looks_at_every_batch(model, raw):
    theirs = HeadOutput.from_raw({k: v.detach() if k != "feats" else v for k, v in raw.items()}, model.stride.tolist())
    given = {**batch(), "kd_teacher": theirs, **zones(unknown=[[0.0, 0, 1, 1, 0, 1, 0]])}
    criterion = DistillLoss(model, objective(), weight=1.0)
    loss, _ = criterion.loss(raw, given)
    heard = torch.autograd.grad(loss[1], raw["scores"])[0] != 0
    assert heard.any(2).tolist() == [[True, False, True], [True, True, True]]


def test_of_a_class_the_teacher_does_not_know_it_says_nothing(model, raw):
    rows = [row.clone() for row in told()]
    for row in rows:
        row[:, 1] = torch.nan
    criterion = DistillLoss(model, objective("bckd"), weight=1.0)
    loss, _ = criterion.loss(raw, {**batch(), "teacher": tuple(rows)})
    gradient = torch.autograd.grad(loss[3], raw["scores"])[0]
    assert loss[3] > 0
    assert (gradient.abs().sum((0, 2)) > 0).tolist() == [True, False, True]


def test_the_deaf_entropy_is_the_stock_one_where_nothing_is_ignored():
    scores, targets = torch.randn(2, 5, NC), torch.rand(2, 5, NC)
    stock = torch.nn.BCEWithLogitsLoss(reduction="none")(scores, targets)
    assert torch.equal(_Deaf()(scores, targets), stock)


def test_a_label_says_nothing_about_a_class_nobody_looked_for():
    deaf = _Deaf()
    deaf.zones = torch.zeros(1, 4, dtype=torch.bool), torch.tensor([False, False, True]).expand(1, 4, 3)
    scores, targets = torch.zeros(1, 4, 3, requires_grad=True), torch.zeros(1, 4, 3)
    targets[0, 0, 0], targets[0, 1, 2] = 0.7, 0.6
    deaf(scores, targets).sum().backward()
    assert (scores.grad[0] != 0).tolist() == [[True, True, False], [True] * 3, [True, True, False], [True, True, False]]


def test_a_teacher_beside_the_student(model, raw):
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
        theirs = other(torch.rand(2, 3, SIZE, SIZE))
    strides = model.stride.tolist()
    same = HeadOutput.from_raw({k: v.detach() if k != "feats" else v for k, v in raw.items()}, strides)
    criterion = DistillLoss(model, objective("response+cwd:0.5"), weight=1.0)
    loss, _ = criterion.loss(raw, {**batch(), "kd_teacher": HeadOutput.from_raw(theirs, strides)})
    assert loss[3] > 0
    loss, _ = DistillLoss(model, objective(), weight=1.0).loss(raw, {**batch(), "kd_teacher": same})
    assert loss[3].item() == pytest.approx(0, abs=1e-5)


def test_gradients_are_compared_only_when_watched(model, raw):
    criterion = DistillLoss(model, objective(), weight=0.0)
    given = {**batch(), "teacher": told()}
    criterion.loss(raw, given)
    assert criterion.gradients is None
    criterion.watch = True
    loss, _ = criterion.loss(raw, given)
    task, kd, cosine = criterion.gradients
    assert loss[3] == 0  # watching is not listening
    assert task > 0
    assert kd > 0
    assert -1 <= cosine <= 1
    loss.sum().backward()
