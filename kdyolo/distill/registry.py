"""From what a user writes, ``response+cwd:0.5``, to a loss. Only `build` needs torch."""

from __future__ import annotations

import difflib
import functools
import importlib
import math
import pkgutil
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kdyolo.distill import methods
from kdyolo.distill.info import MethodInfo
from kdyolo.errors import ConfigError

if TYPE_CHECKING:
    from kdyolo.distill.method import Objective

_FAMILIES = ("response", "feature", "relation")
_PLUS = re.compile(r"\+(?!(?<=[\d.][eE]\+)\d)")  # but not that of an exponent, as in 1e+3: no name begins with a digit


@dataclass(frozen=True)
class Recipe:
    """A weighted sum of methods, combinations taken apart.

    Attributes:
        weights: Name -> factor > 0, in the order given.
    """

    weights: dict[str, float]

    def __str__(self) -> str:
        """The sum as a text that `parse` reads again; equal sums give equal texts but for their order."""
        return "+".join(f"{name}:{weight:.12g}".replace("+", "") for name, weight in self.weights.items())

    @property
    def infos(self) -> list[MethodInfo]:
        """What its methods are."""
        return [describe(name) for name in self.weights]

    @property
    def replayable(self) -> bool:
        """It can learn from stored predictions, without the teacher in the loop."""
        return all(info.replayable for info in self.infos)


@functools.cache
def catalogue() -> dict[str, MethodInfo]:
    """All methods, families together and names in order: each file in `methods` is one."""
    names = sorted(module.name for module in pkgutil.iter_modules(methods.__path__))
    infos: list[MethodInfo] = [_module(name).INFO for name in names]
    return {info.name: info for info in sorted(infos, key=lambda info: _FAMILIES.index(info.family))}


def describe(name: str) -> MethodInfo:
    """What the method of that name is.

    Raises:
        ConfigError: There is none; the message names the nearest.
    """
    if name in catalogue():
        return catalogue()[name]
    near = difflib.get_close_matches(name.lower(), catalogue(), n=1, cutoff=0.5)
    meant = f" Did you mean '{near[0]}'?" if near else ""
    raise ConfigError(f"There is no method '{name}'.{meant}", f"Methods: {', '.join(catalogue())}.")


def parse(spec: str) -> Recipe:
    """Read a sum of methods: ``NAME[:WEIGHT]`` joined by ``+``. A combination's weight multiplies those of its parts.

    Raises:
        ConfigError: A name is unknown or given twice, or a weight is no number above 0.
    """
    weights: dict[str, float] = {}
    for term in _PLUS.split(spec):
        name, colon, text = (part.strip() for part in term.partition(":"))
        if not name:
            raise ConfigError(f"A method is missing in '{spec}'.", "For example: response, or response+cwd:0.5.")
        info = describe(name)
        weight = _weight(name, text) if colon else info.weight
        for part, share in (info.parts or {name: 1.0}).items():
            if part in weights:
                raise ConfigError(f"'{part}' is in '{spec}' twice.", "Give it once, with its weight: NAME:WEIGHT.")
            weights[part] = weight * share
    return Recipe(weights)


def require_sense(recipe: Recipe, nc: int, reg_max: int = 16) -> None:
    """Refuse what would be zero whatever the student does.

    Args:
        recipe: The methods.
        nc: Number of classes that student and teacher both know.
        reg_max: Number of bins of a box side; every YOLOv5 (u) model has 16.

    Raises:
        ConfigError: A method says nothing at so few classes or bins.
    """
    for info in recipe.infos:
        if nc < info.min_classes:
            raise ConfigError(
                f"'{info.name}' says nothing with {nc} class{'' if nc == 1 else 'es'}: it needs {info.min_classes}.",
                "Use 'bckd', which is right for one class as well.",
            )
        if reg_max < info.min_bins:
            raise ConfigError(
                f"'{info.name}' compares distributions over bins, and this head has {reg_max} a side.",
                "Use 'box', which compares the boxes themselves.",
            )


def build(
    spec: str | Recipe,
    student_channels: Sequence[int],
    teacher_channels: Sequence[int],
    nc: int,
    reg_max: int = 16,
    seed: int = 0,
) -> Objective:
    """The loss module of a sum of methods. The state of torch's random numbers is the same afterwards.

    Args:
        spec: The sum, see `parse`.
        student_channels: Channels of the maps that enter the student's head, finest first.
        teacher_channels: Those of the teacher.
        nc: Number of classes.
        reg_max: Number of bins of a box side.
        seed: Seed of the adapters' first weights.

    Raises:
        ConfigError: As `parse`; or a method says nothing at so few classes or bins.
    """
    import torch

    from kdyolo.distill.method import Method, Objective

    recipe = spec if isinstance(spec, Recipe) else parse(spec)
    require_sense(recipe, nc, reg_max)
    if len(student_channels) != len(teacher_channels):
        raise ConfigError(
            f"The student's head has {len(student_channels)} levels and the teacher's {len(teacher_channels)}.",
            "Both need the same kind of head.",
        )
    built = {}
    with torch.random.fork_rng(devices=[]):
        for info in recipe.infos:
            torch.default_generator.manual_seed(seed)  # a method starts alike in every sum; no GPU's state is touched
            built[info.name] = Method(info, _module(info.name).loss, student_channels, teacher_channels)
    return Objective(built, recipe.weights)


def _module(name: str) -> Any:
    return importlib.import_module(f"{methods.__name__}.{name}")


def _weight(name: str, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise ConfigError(f"The weight of '{name}' is '{text}'; it must be a number above 0.", f"Write {name}:0.5.")
    return weight
