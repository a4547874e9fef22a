"""What every method of the catalogue promises, whatever it computes."""

import importlib

import pytest
import torch
from heads import CHANNELS, converted, in_float64, make_head, make_identity, rectified
from hypothesis import given, settings
from hypothesis import strategies as st

from kdyolo.distill.method import Method
from kdyolo.distill.registry import build, catalogue
from kdyolo.engine import checkpoints
from kdyolo.engine.environment import harden
from kdyolo.errors import ConfigError

harden()
from ultralytics.cfg import get_cfg  # noqa: E402

from kdyolo.distill.criterion import DistillLoss  # noqa: E402

NAMES = list(catalogue())
FORMULAS = [name for name in NAMES if not catalogue()[name].parts]
ADAPTED = [name for name in NAMES if catalogue()[name].adapter]
THEIRS = (5, 7, 9)
WIDTHS = (64, 128, 256)  # of yolov5n

LOCAL = [name for name in NAMES if catalogue()[name].family == "response"] + ["rkd"]  # the others compare whole maps

every = pytest.mark.parametrize("name", NAMES)


def pair(teacher_seed=1, **arguments):
    return make_head(0, grad=True, **arguments), make_head(teacher_seed, channels=THEIRS, grad=True, **arguments)


def objective(name, nc=3, ours=CHANNELS, theirs=THEIRS):
    return build(name, ours, theirs, nc=nc, reg_max=8)


def leaves(head):
    return [head.scores, head.boxes, *head.features]


def backward(loss, *heads):
    loss.backward()
    return [leaf.grad for head in heads for leaf in leaves(head)]


@every
def test_a_scalar_in_fp32_that_is_the_sum_of_its_parts(name):
    total, parts = objective(name)(*pair())
    assert (total.shape, total.dtype) == ((), torch.float32)
    assert list(parts) == list(catalogue()[name].parts or [name])
    assert not any(part.requires_grad for part in parts.values())
    assert total.item() == pytest.approx(sum(part.item() for part in parts.values()))
    assert total.item() > 1e-4


@every
@pytest.mark.parametrize("nc", [2, 3])
def test_a_student_that_is_its_teacher_has_nothing_to_learn(name, nc):
    # Adapters of several layers have ReLU inside, so maps without negative values are those they can leave alone.
    student = converted(rectified(make_head(3, nc=nc)), torch.float32, grad=True)
    total, _ = make_identity(objective(name, nc, theirs=CHANNELS))(student, converted(student, torch.float32))
    assert total.item() == pytest.approx(0, abs=1e-6)
    for gradient in backward(total, student):
        assert gradient is None or gradient.abs().max() < 1e-5


@every
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    scale=st.floats(1e-3, 50),
    near=st.booleans(),
    nc=st.integers(2, 4),
    batch=st.integers(1, 3),
)
def test_never_negative(name, seed, scale, near, nc, batch):
    student = make_head(seed, scale=scale, nc=nc, batch=batch)
    teacher = make_head(seed if near else seed + 1, scale=scale, nc=nc, batch=batch)
    total, _ = make_identity(objective(name, nc, theirs=CHANNELS))(student, teacher)
    assert 0 <= total.item() < float("inf")
    if name in FORMULAS:  # what is clamped away is rounding, not a formula that goes below 0
        formula = importlib.import_module(f"kdyolo.distill.methods.{name}").loss
        assert float(formula(student, teacher)) > -1e-5


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_half_precision_is_finite(name, dtype, scale):
    student, teacher = (converted(head, dtype, grad=True) for head in pair(scale=scale))
    total, _ = objective(name)(student, teacher)
    assert total.dtype == torch.float32
    assert total.isfinite()
    assert total.item() == objective(name)(student.float(), teacher.float())[0].item()
    for gradient in backward(total, student):
        assert gradient is None or gradient.isfinite().all()


@every
@pytest.mark.parametrize("kind", ["high", "low", "mixed", "constant"])
def test_extreme_numbers_are_finite(name, kind):
    student, teacher = pair()
    for head, sign in ((student, 1), (teacher, -1)):
        for leaf in leaves(head):
            with torch.no_grad():
                extreme = {"high": 50.0, "low": -50.0, "mixed": 50 * sign * leaf.sign(), "constant": 0.0}[kind]
                leaf.copy_(extreme * torch.ones_like(leaf) if isinstance(extreme, float) else extreme)
    total, _ = objective(name)(student, teacher)
    assert total.isfinite()
    for gradient in backward(total, student):
        assert gradient is None or gradient.isfinite().all()


@every
def test_autocast_changes_nothing_but_the_adapters(name):
    """By itself; within the training's loss not even those, see below."""
    module = objective(name)
    student, teacher = (converted(head, torch.bfloat16) for head in pair())
    plain, _ = module(student, teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast, _ = module(student, teacher)
    assert cast.dtype == torch.float32
    assert cast.item() == pytest.approx(plain.item(), rel=0.02 if name in ADAPTED else 0)


@every
def test_in_a_training_autocast_changes_nothing_and_adapters_run_in_fp32(name):
    module, student = build(name, WIDTHS, WIDTHS, nc=3), trained()
    with torch.autocast("cpu", dtype=torch.bfloat16):  # as the loop has it around the forward pass, loss included
        ours, theirs = student(torch.rand(2, 3, 64, 64)), student(torch.rand(2, 3, 64, 64))
    assert ours["feats"][0].dtype == torch.bfloat16
    batch = {"batch_idx": torch.tensor([0.0]), "cls": torch.tensor([[1.0]]), "bboxes": torch.full((1, 4), 0.5)}
    theirs = {**theirs, "scores": theirs["scores"] + 8}  # it sees objects
    batch["kd_teacher"] = type(make_head()).from_raw(theirs, student.stride.tolist()).detach()
    ran, found = [], []
    for layer in (m for m in module.modules() if isinstance(m, torch.nn.Conv2d)):
        layer.register_forward_hook(lambda layer, given, out: ran.append((given[0].dtype, out.dtype)))
    for autocast in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            found.append(DistillLoss(student, module, weight=1.0).loss(ours, batch)[0][3])
    assert found[0].item() == found[1].item() > 0
    assert len(ran) == 2 * 3 * catalogue()[name].adapter
    assert set(ran) <= {(torch.float32, torch.float32)}


def trained():
    """A student as the loss meets it."""
    torch.manual_seed(0)
    model = checkpoints.build("yolov5n", 3)
    model.args = get_cfg()
    return model.train()


@every
def test_the_gradient_reaches_the_student_and_never_the_teacher(name):
    student, teacher = pair()
    module = objective(name)
    total, _ = module(student, teacher)
    total.backward()
    assert all(leaf.grad is None for leaf in leaves(teacher))
    reached = {"scores": student.scores.grad, "boxes": student.boxes.grad, "features": student.features[0].grad}
    reached = {where for where, gradient in reached.items() if gradient is not None and gradient.abs().sum() > 0}
    expected = {
        "bckd": {"scores"},
        "hinton": {"scores"},
        "ld": {"boxes"},
        "box": {"boxes"},
        "response": {"scores", "boxes"},
    }
    assert reached == expected.get(name, {"features"})
    assert len(list(module.parameters())) == 6 * catalogue()[name].adapter
    for parameter in module.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    for adapter in (m for m in module.modules() if isinstance(m, torch.nn.Conv2d)):
        assert adapter.weight.grad.abs().sum() > 0


@every
def test_a_step_downhill_helps(name):
    student, teacher = pair()
    module = objective(name)
    before, _ = module(student, teacher)
    before.backward()
    length = sum(leaf.grad.square().sum().item() for leaf in leaves(student) if leaf.grad is not None)
    with torch.no_grad():
        for leaf in leaves(student):
            if leaf.grad is not None:
                leaf -= 1e-2 * before.item() / length * leaf.grad
    assert module(student, teacher)[0].item() < before.item()


@pytest.mark.parametrize("name", LOCAL)
def test_no_foreground_and_a_quiet_student_give_0_with_a_graph(name):
    student, teacher = pair()
    with torch.no_grad():
        student.scores.fill_(-20.0)
        teacher.scores.fill_(-20.0)
    total, _ = objective(name)(student, teacher)
    assert total.item() == pytest.approx(0, abs=1e-5)
    assert total.requires_grad
    total.backward()


@pytest.mark.parametrize("name", ["ld", "hinton", "rkd"])
def test_no_foreground_gives_0_whatever_the_student_says(name):
    student, teacher = pair()
    with torch.no_grad():
        teacher.scores.fill_(-20.0)
    total, _ = objective(name)(student, teacher)
    assert total.item() == pytest.approx(0, abs=1e-5)
    total.backward()


def test_bckd_talks_the_student_out_of_what_only_it_sees():
    student, teacher = pair()
    with torch.no_grad():
        teacher.scores.fill_(-20.0)
    total, _ = objective("bckd")(student, teacher)
    total.backward()
    assert total.item() > 1
    assert (student.scores.grad > 0).all()


@every
@pytest.mark.parametrize("shapes", [((1, 1), (1, 1), (1, 1)), ((3, 1), (2, 1), (1, 1))])
def test_one_image_and_the_smallest_maps(name, shapes):
    student, teacher = pair(batch=1, shapes=shapes)
    total, _ = objective(name)(student, teacher)
    assert total.isfinite()
    for gradient in backward(total, student):
        assert gradient is None or gradient.isfinite().all()


@every
def test_one_class(name):
    if catalogue()[name].min_classes > 1:
        with pytest.raises(ConfigError, match="says nothing with 1 class"):
            objective(name, nc=1)
        return
    total, _ = objective(name, nc=1)(*pair(nc=1))
    assert total.item() > 1e-4


@every
def test_independent_of_the_order_of_images(name):
    student, teacher = pair(batch=3)
    turned = []
    for head in (student, teacher):
        parts = [leaf.detach().flip(0) for leaf in leaves(head)]
        raw = {"scores": parts[0], "boxes": parts[1], "feats": parts[2:]}
        turned.append(type(head).from_raw(raw, (8, 16, 32)))
    module = objective(name)
    assert module(*turned)[0].item() == pytest.approx(module(student, teacher)[0].item(), rel=1e-4)


@every
def test_maps_may_lie_in_memory_in_any_order(name):
    student, teacher = pair()
    module = objective(name)
    plain = module(student, teacher)[0].item()
    last = []
    for head in (student, teacher):
        maps = [x.detach().contiguous(memory_format=torch.channels_last) for x in head.features]
        scores, boxes = (x.detach().transpose(1, 2).contiguous().transpose(1, 2) for x in (head.scores, head.boxes))
        last.append(type(head).from_raw({"scores": scores, "boxes": boxes, "feats": maps}, (8, 16, 32)))
    assert module(*last)[0].item() == pytest.approx(plain, rel=1e-5)


@every
@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"batch": 3}, "2 images and the teacher 3"),
        ({"nc": 4}, "3 classes and the teacher 4"),
        ({"reg_max": 4}, "8 bins of a box side and the teacher 4"),
        ({"shapes": ((5, 7), (3, 4), (2, 3))}, "51 locations and the teacher 53"),
        ({"shapes": ((7, 5), (4, 3), (2, 2))}, "differ in size"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(name, other, told):
    with pytest.raises(ConfigError, match=told):
        objective(name)(make_head(0), make_head(1, **{"channels": THEIRS, **other}))


@pytest.mark.parametrize("name", [n for n in NAMES if catalogue()[n].family != "response"])
def test_maps_that_are_missing_or_of_another_model(name):
    student, teacher = pair()
    with pytest.raises(ConfigError, match="compares neck maps, and there are none"):
        objective(name)(student, without_maps(teacher))
    if name in ADAPTED:
        with pytest.raises(ConfigError, match="was built for maps"):
            objective(name)(student, make_head(1))


@pytest.mark.parametrize("name", [n for n in NAMES if catalogue()[n].replayable])
def test_stored_predictions_need_no_maps(name):
    student, teacher = pair()
    expected, _ = objective(name)(student, teacher)
    assert objective(name)(student, without_maps(teacher))[0].item() == expected.item()


@pytest.mark.parametrize("name", ["ld", "hinton", "cwd", "pkd", "fitnet", "at", "sp", "correlation", "rkd"])
def test_gradients_are_those_of_finite_differences(name):
    shapes = ((2, 3), (2, 2), (1, 1)) if name != "rkd" else ((3, 3), (1, 1), (1, 1))
    student, teacher = (in_float64(make_head(seed, batch=2, shapes=shapes, reg_max=4)) for seed in (0, 1))
    formula = importlib.import_module(f"kdyolo.distill.methods.{name}").loss
    changes = {"ld": ["boxes"], "hinton": ["scores"]}.get(name, ["features"])

    def of(*tensors):
        given = {"features": tensors} if changes == ["features"] else {changes[0]: tensors[0]}
        return formula(type(student)(**{**vars(student), **given}), teacher.detach())

    inputs = student.features if changes == ["features"] else (getattr(student, changes[0]),)
    assert torch.autograd.gradcheck(of, inputs, eps=1e-6, atol=1e-5)


def without_maps(head):
    return type(head)(**{**vars(head), "features": ()})


def test_rounding_below_0_is_0():
    method = Method(catalogue()["bckd"], lambda student, teacher: student.scores.sum() * 0 - 1e-7, (), ())
    loss = method(*pair())
    assert loss.item() == 0
    assert loss.requires_grad
