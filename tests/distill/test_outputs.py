"""The head's output: where it comes from, its boxes, and its classes in another order."""

import pytest
import torch
from heads import make_head

from kdyolo.distill.outputs import HeadOutput
from kdyolo.distill.registry import build
from kdyolo.engine.environment import harden
from kdyolo.errors import ConfigError

CHANNELS = (4, 6, 8)


@pytest.fixture
def detect():
    """A head of ultralytics, with its raw output on maps that are not square."""
    harden()
    from ultralytics.nn.modules.head import Detect

    torch.manual_seed(0)
    head = Detect(nc=3, ch=(16, 32, 64))
    head.stride = torch.tensor([8.0, 16.0, 32.0])
    maps = [torch.randn(2, c, 8 // k, 12 // k) for c, k in ((16, 1), (32, 2), (64, 4))]
    return head, maps


def test_boxes_are_those_of_the_library(detect):
    head, maps = detect
    head.xyxy = True
    output = HeadOutput.from_raw(head.train()(maps), head.stride.tolist())
    assert (output.nc, output.reg_max, output.levels()) == (3, 16, [96, 24, 6])
    decoded, raw = head.eval()(maps)
    evaluated = HeadOutput.from_raw((decoded, raw), (8, 16, 32))
    assert torch.allclose(evaluated.xyxy(), decoded[:, :4].transpose(1, 2), atol=1e-3)
    assert torch.allclose(output.anchors * output.strides, evaluated.anchors * evaluated.strides)


def test_complete_iou_is_that_of_the_library():
    harden()
    from ultralytics.utils.metrics import bbox_iou

    from kdyolo.distill.methods.box import ciou

    generator = torch.Generator().manual_seed(0)
    corners, sizes = (
        60 * torch.rand(2, 500, 2, generator=generator),
        1 + 40 * torch.rand(2, 500, 2, generator=generator),
    )
    ours, theirs = torch.cat([corners, corners + sizes], -1)  # near and far apart
    found, expected = [], []
    for result, function in ((found, ciou), (expected, lambda a, b: bbox_iou(a, b, xywh=False, CIoU=True)[..., 0])):
        boxes = ours.clone().requires_grad_(True)
        values = function(boxes, theirs)
        values.sum().backward()
        result += [values.detach(), boxes.grad]
    assert (found[0] < 0).any()
    assert torch.allclose(found[0], expected[0], atol=1e-5)
    assert torch.allclose(found[1], expected[1], atol=1e-5)
    assert (ciou(ours, ours) > 1 - 1e-4).all()


def test_the_grid_can_be_used_in_a_graph_even_if_first_made_without_one():
    raw = {
        "scores": torch.zeros(1, 1, 77),
        "boxes": torch.zeros(1, 16, 77, requires_grad=True),
        "feats": [torch.zeros(1, 2, 7, 11)],
    }
    with torch.inference_mode():
        HeadOutput.from_raw(raw, [8])
    HeadOutput.from_raw(raw, [8]).xyxy().sum().backward()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"boxes": torch.zeros(2, 30, 51)}, "boxes \\(2, 30, 51\\)"),
        ({"boxes": torch.zeros(2, 32, 50)}, "not the output of one"),
        ({"scores": torch.zeros(2, 51)}, "not the output of one"),
        ({"features": (torch.zeros(2, 4, 5, 7),)}, "not the output of one"),
        ({"anchors": torch.zeros(50, 2)}, "not the output of one"),
    ],
)
def test_shapes_that_contradict_each_other(change, told):
    with pytest.raises(ConfigError, match=told):
        HeadOutput(**{**vars(make_head()), **change})


@pytest.mark.parametrize("raw", [torch.zeros(1, 84, 100), {"one2many": {}, "one2one": {}}, {"scores": 1}])
def test_other_heads_are_refused(raw):
    with pytest.raises(ConfigError, match="not one of YOLOv5u"):
        HeadOutput.from_raw(raw, (8, 16, 32))
    with pytest.raises(ConfigError, match="3 levels, but 2 strides"):
        HeadOutput.from_raw({"scores": None, "boxes": None, "feats": [1, 2, 3]}, (8, 16))


def test_classes_in_another_order():
    head = make_head(nc=3)
    turned = head.select([[2], [0], [1]])
    assert torch.equal(turned.scores, head.scores[:, [2, 0, 1]])
    assert torch.equal(turned.select([[1], [2], [0]]).scores, head.scores)
    assert head.select([[0], [1], [2]]) is head


def test_several_classes_that_stand_for_one_give_it_the_best():
    head = make_head(nc=3)
    merged = head.select([[0, 2], [1]])
    assert torch.equal(merged.scores[:, 0], head.scores[:, [0, 2]].amax(1))
    assert torch.equal(merged.scores[:, 1], head.scores[:, 1])


def test_what_is_unknown_stays_unknown():
    head = make_head(nc=3).select([[0], [], [2]])
    assert head.known[0, :, 0].tolist() == [True, False, True]
    again = head.select([[1], [2], [0, 1]])
    assert again.known[0, :, 0].tolist() == [False, True, True]


@pytest.mark.parametrize("name", ["bckd", "hinton", "response+box"])
def test_a_class_the_teacher_does_not_know_is_no_background(name):
    """Neither learnt nor unlearnt, whatever stands in the teacher's rows; the others as if it were not there."""
    student, teacher = make_head(0, nc=3, grad=True), make_head(1, nc=2)
    module = build(name, CHANNELS, CHANNELS, nc=3, reg_max=8)
    total, _ = module(student, teacher.select([[0], [], [1]]))
    total.backward()
    assert (student.scores.grad[:, 1] == 0).all()
    assert (student.scores.grad[:, [0, 2]] != 0).any()
    without = student.detach().select([[0], [2]])
    assert module(without, teacher)[0].item() == pytest.approx(total.item(), rel=1e-5)
