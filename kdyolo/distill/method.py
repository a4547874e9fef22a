"""Methods as modules: what all of them do around their formula, and a weighted sum of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from kdyolo.distill.info import MethodInfo
from kdyolo.distill.outputs import HeadOutput, require_alike
from kdyolo.errors import ConfigError

Loss = Callable[[HeadOutput, HeadOutput], Tensor]


class Method(nn.Module):
    """One method: its formula in fp32 whatever autocast does, the teacher without a graph, and its adapters.

    The training's loss switches autocast off before it calls a method, so there the adapters run in fp32 as well.

    Args:
        info: What it is.
        loss: Its formula.
        student_channels: Channels of the student's neck maps.
        teacher_channels: Those of the teacher's.

    Attributes:
        adapters: For each level its 1x1 convolutions, where the method needs them; trained with the student.
    """

    def __init__(
        self, info: MethodInfo, loss: Loss, student_channels: Sequence[int], teacher_channels: Sequence[int]
    ) -> None:
        super().__init__()
        self.info = info
        self._loss = loss
        self._channels = list(zip(student_channels, teacher_channels, strict=True)) if info.adapter else []
        self.adapters = nn.ModuleList(_adapter(ours, theirs, info.adapter) for ours, theirs in self._channels)

    def forward(self, student: HeadOutput, teacher: HeadOutput) -> Tensor:
        """The loss of a batch: a scalar >= 0, not multiplied by the number of images.

        Raises:
            ConfigError: The outputs cannot be compared, or lack the maps that the method looks at.
        """
        require_alike(student, teacher)
        if self.info.family != "response":
            self._require_maps(student, teacher)
        if self.info.adapter:
            adapted = zip(self.adapters, student.features, strict=True)
            student = replace(student, features=tuple(_adapt(adapter, x) for adapter, x in adapted))
        with torch.autocast(student.scores.device.type, enabled=False):
            # Rounding may leave a divergence of equal distributions a hair below 0.
            return self._loss(student.float(), teacher.detach().float()).clamp(min=0)

    def _require_maps(self, student: HeadOutput, teacher: HeadOutput) -> None:
        if not student.features or not teacher.features:
            raise ConfigError(
                f"'{self.info.name}' compares neck maps, and there are none.",
                "It needs the teacher beside the student in each step; stored predictions hold no maps.",
            )
        expected = self._channels
        given = [(z.shape[1], y.shape[1]) for z, y in zip(student.features, teacher.features, strict=True)]
        if self.info.adapter and expected != given:
            raise ConfigError(
                f"'{self.info.name}' was built for maps of (student, teacher) channels {expected}, not {given}.",
                "Build it for the models that are trained.",
            )


class Objective(nn.Module):
    """A weighted sum of methods.

    Args:
        methods: Name -> method.
        weights: Name -> its factor.
    """

    def __init__(self, methods: Mapping[str, Method], weights: Mapping[str, float]) -> None:
        super().__init__()
        self.methods = nn.ModuleDict(methods)
        self.weights = dict(weights)

    def forward(self, student: HeadOutput, teacher: HeadOutput) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum (), and its parts: name -> weighted loss () without a graph, the same names in every call."""
        losses = {name: self.weights[name] * method(student, teacher) for name, method in self.methods.items()}
        return torch.stack(list(losses.values())).sum(), {name: loss.detach() for name, loss in losses.items()}


def _adapter(ours: int, theirs: int, layers: int) -> nn.Module:
    convolutions: list[nn.Module] = [nn.Conv2d(ours, theirs, 1)]
    for _ in range(layers - 1):
        convolutions += [nn.ReLU(), nn.Conv2d(theirs, theirs, 1)]
    return convolutions[0] if layers == 1 else nn.Sequential(*convolutions)


def _adapt(adapter: nn.Module, feature: Tensor) -> Tensor:
    """A map through its adapter, in the precision of autocast: in a training that is fp32, see `Method`."""
    kind = feature.device.type
    autocast = torch.is_autocast_enabled(kind)
    adapted: Tensor = adapter(feature if autocast else feature.to(next(adapter.parameters()).dtype))
    return adapted
