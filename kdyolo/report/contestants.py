"""Compared runs, read to be set beside others: their names, what they were measured on, and what does not do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from kdyolo.boxes import Truth
from kdyolo.config import Config, load_config
from kdyolo.datasets.view import View, load_view
from kdyolo.errors import ConfigError, DatasetError, KdyoloError
from kdyolo.evaluation.across_runs import fingerprint_of_test
from kdyolo.evaluation.bootstrap import keyed_matches
from kdyolo.evaluation.matching import ImageMatches
from kdyolo.evaluation.predictions import read_predictions
from kdyolo.evaluation.splits import truths
from kdyolo.report.current import require_current
from kdyolo.report.load import Arm, Inputs, clean, load
from kdyolo.stages.base import Stage
from kdyolo.storage import RunDir

MEASURE = ("conf", "iou", "max_det")
"""What mAP depends on beside model and test split."""
MACHINE = ("device", "processor", "platform", "precision", "threads")
"""What milliseconds depend on beside the model, as far as a run knows it."""
Chain = Callable[[Config], Sequence[Stage]]
"""The stages that settings ask for."""


@dataclass(frozen=True)
class Contestant:
    """One compared run.

    Attributes:
        name: Tells it from the others.
        run: Its directory.
        inputs: Its figures.
        config: Its settings.
        view: Its data.
        test: Fingerprint of what it was measured on, see `fingerprint_of_test`.
    """

    name: str
    run: RunDir
    inputs: Inputs
    config: Config
    view: View
    test: str
    _read: dict[str, list[ImageMatches]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def arms(self) -> dict[str, Arm]:
        """Name -> figures of its models."""
        return self.inputs.arms

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the trainings of its student."""
        return tuple(one["seed"] for one in self.arms["student"].seeds) or (self.config.seed,)

    @property
    def measure(self) -> tuple[Any, ...]:
        """Equal for runs whose mAP may stand in one table."""
        return (self.test, *(self.inputs.results.measured.get(name) for name in MEASURE))

    @property
    def dataset_sha256(self) -> str:
        """Of its whole data set; empty where the run does not say."""
        record = self.inputs.records.get("split")
        return str(record.facts.get("dataset_sha256", "")) if record else ""

    @cached_property
    def truth(self) -> dict[str, Truth]:
        """Labels of the test images."""
        return truths(self.view.splits["test"])

    def matches(self, arm: str) -> list[ImageMatches]:
        """Detections of an arm's first training against the truth, by class.

        Raises:
            DatasetError: They are not there, or cannot be read.
        """
        if arm not in self._read:
            table = self.run.stage("compare") / f"predictions_{arm}.csv"
            found = read_predictions(table, self.truth, len(self.view.names))
            self._read[arm] = keyed_matches(self.truth, found, self.view.names)
        return self._read[arm]


@dataclass(frozen=True)
class LeftOut:
    """A run that cannot be shown, and what to do about it."""

    name: str
    message: str
    hint: str


def gather(paths: Sequence[Path], chain: Chain) -> tuple[list[Contestant], list[LeftOut]]:
    """Read runs; one with label budgets stands for the runs of its budgets, and one named twice is read once."""
    runs = list({run.root.resolve(): run for path in paths for run in _runs_at(path)}.values())
    read: list[Contestant] = []
    left_out: list[LeftOut] = []
    for run, name in zip(runs, names_of([run.root for run in runs]), strict=True):
        try:
            read.append(_read(run, name, chain))
        except KdyoloError as error:
            left_out.append(LeftOut(name, clean(error.message), clean(error.hint)))
    return read, left_out


def names_of(roots: Sequence[Path]) -> list[str]:
    """The shortest ends of different paths that tell them apart; that of a label budget starts with its run."""
    parts = [_parts(root) for root in roots]
    depth = [2 if root.parent.name == "budgets" else 1 for root in roots]
    while True:
        names = [clean("/".join(part[-d:])) for part, d in zip(parts, depth, strict=True)]
        again = [i for i, name in enumerate(names) if names.count(name) > 1 and depth[i] < len(parts[i])]
        if not again:
            break
        for i in again:
            depth[i] += 1
    return [name if names.count(name) == 1 else f"{name} ({i})" for i, name in enumerate(names, 1)]


def _parts(root: Path) -> tuple[str, ...]:
    return (*root.parts[:-2], root.name) if root.parent.name == "budgets" else root.parts


def _runs_at(path: Path) -> list[RunDir]:
    run = RunDir(path)
    if not run.budgets.is_dir():
        return [run]
    try:
        shares = sorted(set(load_config(run.config).label_budgets))
    except ConfigError:
        return [run]
    return [RunDir(run.budgets / f"{share:g}") for share in shares]


def _read(run: RunDir, name: str, chain: Chain) -> Contestant:
    whole = RunDir(run.root.parents[1]) if run.root.parent.name == "budgets" else run
    if not run.root.is_dir():
        source = "" if whole.config.is_file() else "DATASET "
        raise DatasetError(f"There is no run at {run.root}.", f"Make it: `kdyolo run {source}--run {whole.shown}`.")
    run.require_begun()
    run.require_idle()
    if run.finished("compare") is None:
        raise DatasetError(f"{run.root} is not compared yet.", f"Finish it: `kdyolo run --run {whole.shown}`.")
    config, inputs = load_config(run.config), load(run)
    if "student" not in inputs.arms:
        raise DatasetError(f"{run.root} has no student.", f"Bring it up to date: `kdyolo run --run {run.shown}`.")
    require_current(run, config, chain(config))
    view = load_view(run.stage("split"))
    return Contestant(name, run, inputs, config, view, fingerprint_of_test(view))
