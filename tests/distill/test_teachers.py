"""Who is refused as a teacher before the first step."""

from types import SimpleNamespace

import pytest
import torch

from kdyolo.distill.teachers import FrozenTeacher, Peer
from kdyolo.engine import checkpoints
from kdyolo.errors import ConfigError


def built(seed, nc=3, like=None):
    """A yolov5n of drawn weights; `like` another one where the shapes allow it, as a pretrained start is taken over."""
    torch.manual_seed(seed)
    model = checkpoints.build("yolov5n", nc)
    model.nc, model.args = nc, {}
    if like is not None:
        own = model.state_dict()
        model.load_state_dict({k: v if v.shape == own[k].shape else own[k] for k, v in like.state_dict().items()})
    return model


@pytest.mark.parametrize("nc", [3, 80])
def test_a_peer_that_starts_like_the_student_is_refused_whatever_classes_they_start_from(nc):
    pretrained = built(0, nc)
    student, peer = (built(seed, 3, pretrained) for seed in (1, 2))
    with pytest.raises(ConfigError, match="start from the same weights") as caught:
        Peer(peer, None).prepare(SimpleNamespace(model=student, device=torch.device("cpu")))
    assert "--from-scratch" in caught.value.hint


def test_a_peer_of_its_own_start_is_not():
    class Prepared(Exception):
        pass

    def build_optimizer(model, **recipe):
        raise Prepared

    trainer = SimpleNamespace(
        model=built(1), device=torch.device("cpu"), build_optimizer=build_optimizer, optimizer_recipe={}
    )
    with pytest.raises(Prepared):
        Peer(built(2), None).prepare(trainer)


@pytest.mark.parametrize("other", [{"stride": torch.tensor([4.0, 8.0, 16.0])}, {"reg_max": 8}])
def test_a_teacher_of_another_grid_is_refused(other):
    teacher, student = built(0), built(1)
    for attribute, value in other.items():
        setattr(teacher.model[-1], attribute, value)
    trainer = SimpleNamespace(model=student, precision="fp32", device=torch.device("cpu"))
    with pytest.raises(ConfigError, match="different grids") as caught:
        FrozenTeacher(teacher, {}, 3).prepare(trainer)
    assert "YOLOv5 (u)" in caught.value.hint
    FrozenTeacher(built(0), {}, 3).prepare(trainer)
