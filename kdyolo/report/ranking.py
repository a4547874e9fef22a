"""Runs that were measured on the same test split in order, the seeds of the same settings folded into one row."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from kdyolo.config import stable_hash
from kdyolo.errors import KdyoloError
from kdyolo.evaluation.across_runs import difference
from kdyolo.evaluation.bootstrap import Interval
from kdyolo.evaluation.verdicts import judge
from kdyolo.language import mark
from kdyolo.progress import Progress
from kdyolo.report import proof
from kdyolo.report.contestants import MACHINE, Contestant
from kdyolo.report.load import FOLDERS, Arm, clean
from kdyolo.report.numbers import plain

BEST, EVEN, BELOW = mark("best"), mark("indistinguishable from the best"), mark("below the best")

_SAME_SPEED = 1.25
"""The same model at the same size is not further apart on the same, idle machine."""
# What another seed, place or machine changes and what only says how a run was worked on: no setting of its own.
_NOT_OF_THE_METHOD = (
    *("seed", "more_seeds", "label_budgets", "equal_compute", "data.source", "data.allow_outside", "audit.cache"),
    *("report.lang", "compare.require", "compare.examples", "compare.timed_images", "compare.warmup_images"),
    *("runtime.device", "runtime.threads", "runtime.workers", "runtime.offline", "runtime.track"),
)


@dataclass(frozen=True)
class Score:
    """mAP50-95 of a model over its trainings, in [0, 1].

    Attributes:
        mean: Over the trainings.
        spread: Their standard deviation (n - 1); None for a single one.
        trainings: Their number.
    """

    mean: float
    spread: float | None
    trainings: int


class Note(NamedTuple):
    """What must be known of a row; `leaderboard_words.note` says it.

    Attributes:
        of: ``same_student`` (of the row named by `value`), ``no_interval`` (`value` says why, in English),
            ``first_seed`` or ``not_measured``.
        value: See there.
    """

    of: Literal["same_student", "no_interval", "first_seed", "not_measured"]
    value: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a table: a run, or the runs of several seeds with otherwise the same settings.

    Attributes:
        runs: They, in the order of their seeds.
        rank: Place in its table, from 1.
        scores: Arm -> its mAP50-95; arms that could not be measured are absent.
        gain: Student minus control in mAP50-95, as `Interval.to_json` writes it; empty if unknown.
        verdict: What that shows, see `evaluation.verdicts`; empty if unknown.
        to_best: Student minus that of the best row, in the same way; empty for the best, and where it is unknown.
        standing: `BEST`, `EVEN` or `BELOW`; empty where it is unknown.
        notes: Why something is unknown.
    """

    runs: tuple[Contestant, ...]
    rank: int
    scores: dict[str, Score]
    gain: dict[str, float]
    verdict: str
    to_best: dict[str, float]
    standing: str
    notes: tuple[Note, ...]

    @property
    def name(self) -> str:
        """Names of its runs."""
        return ", ".join(run.name for run in self.runs)

    @property
    def label(self) -> str:
        """Name of its first run, and how many there are."""
        return self.runs[0].name + (f" ({len(self.runs)} seeds)" if len(self.runs) > 1 else "")

    @property
    def student(self) -> Arm:
        """The student of its first run."""
        return self.runs[0].arms["student"]

    def mean(self, arm: str, figure: Callable[[Arm], float | None]) -> float | None:
        """Mean over the runs of a figure of an arm, such as its file size; None where one of them lacks it."""
        found = [figure(run.arms[arm]) if arm in run.arms else None for run in self.runs]
        known = [value for value in found if value is not None]
        return statistics.fmean(known) if len(known) == len(found) else None


@dataclass(frozen=True)
class Table:
    """Rows that may be ranked against one another, best first.

    Attributes:
        rows: Rows, at least one.
        speed_differs: Why speeds cannot be compared, see `speed_differs`; empty if they can.
        settings: Dotted key that is not the same everywhere -> its value in each row, plain.
    """

    rows: tuple[Row, ...]
    speed_differs: dict[str, Any]
    settings: dict[str, list[Any]]

    @property
    def runs(self) -> list[Contestant]:
        """All runs, row by row."""
        return [run for row in self.rows for run in row.runs]


def rank(contestants: Sequence[Contestant], progress: Progress) -> list[Table]:
    """One table for each test split and way of measuring, the one with most runs first."""
    groups: dict[tuple[Any, ...], list[Contestant]] = {}
    for contestant in contestants:
        groups.setdefault(contestant.measure, []).append(contestant)
    tables = [_table(group, progress) for group in groups.values()]
    return sorted(tables, key=lambda table: (-len(table.runs), table.rows[0].name))


def _table(contestants: Sequence[Contestant], progress: Progress) -> Table:
    folded = [(runs, scores(runs)) for runs in fold(contestants)]
    folded.sort(key=lambda pair: (-pair[1]["student"].mean if "student" in pair[1] else 1.0, pair[0][0].name))
    best = folded[0][0]
    rows: list[Row] = []
    first: dict[tuple[str | None, ...], Row] = {}
    progress.start("intervals", len(folded))
    for place, (runs, found) in enumerate(folded, 1):
        weights = tuple(run.arms["student"].sha256 for run in runs)
        if (same := first.get(weights)) is not None and None not in weights:
            rows.append(replace(same, runs=tuple(runs), notes=(Note("same_student", same.name),)))
        else:
            rows.append(_row(place, runs, found, best))
            first[weights] = rows[-1]
        progress.update(place)
    progress.finish()
    return Table(tuple(rows), speed_differs(contestants), differing_settings(rows))


def speed_differs(contestants: Sequence[Contestant]) -> dict[str, Any]:
    """Why milliseconds of these runs cannot be compared, for `leaderboard_words.speed`; empty if they can.

    Returns:
        ``conditions``, name -> different values, where they were measured under different ones; else ``model`` and
        ``imgsz`` (px) of a model that took ``least`` ms in the run ``first`` and ``most`` ms in the run ``last``.
    """
    measured = [run.inputs.results.measured for run in contestants]
    values = {name: {plain(one.get(name)): one.get(name) for one in measured} for name in MACHINE}
    if differing := {name: [found[text] for text in sorted(found)] for name, found in values.items() if len(found) > 1}:
        return {"conditions": differing}
    times: dict[tuple[str, str], list[tuple[float, str]]] = {}
    sizes: dict[str, Any] = {}
    for run in contestants:
        for arm in run.arms.values():
            if arm.latency_ms.p50:
                times.setdefault((plain(arm.model), plain(arm.imgsz)), []).append((arm.latency_ms.p50, run.name))
                sizes[plain(arm.imgsz)] = arm.imgsz
    for (model, imgsz), found in sorted(times.items()):
        (least, first), (most, last) = min(found), max(found)
        if most > _SAME_SPEED * least:
            taken = {"least": least, "first": first, "most": most, "last": last}
            return {"model": model, "imgsz": sizes[imgsz], **taken}
    return {}


def fold(contestants: Sequence[Contestant]) -> list[tuple[Contestant, ...]]:
    """Runs that differ in their seeds alone, together; a second run of the same seed stays by itself."""
    folded: dict[str, list[list[Contestant]]] = {}
    for contestant in sorted(contestants, key=lambda c: (c.seeds, c.name)):
        alike = folded.setdefault(_method(contestant), [])
        place = next((runs for runs in alike if _has_no_seed_of(contestant, runs)), None)
        if place is None:
            alike.append([contestant])
        else:
            place.append(contestant)
    return [tuple(runs) for alike in folded.values() for runs in alike]


def _has_no_seed_of(contestant: Contestant, runs: Iterable[Contestant]) -> bool:
    return not set(contestant.seeds) & {seed for run in runs for seed in run.seeds}


def _method(contestant: Contestant) -> str:
    """Hash of all that decides the models but their seed."""
    settings = {k: v for k, v in flat_settings(contestant).items() if k not in _NOT_OF_THE_METHOD}
    measured = contestant.inputs.results.measured.get("precision")
    return stable_hash([settings, contestant.dataset_sha256, measured])


def flat_settings(contestant: Contestant) -> dict[str, Any]:
    """Dotted key -> value of each setting, and ``package NAME`` -> version of what it was trained and measured with."""
    versions = contestant.inputs.results.versions
    settings = _flat(contestant.config.model_dump(mode="json"))
    return {str(k): clean(v) for k, v in {**settings, **{f"package {k}": v for k, v in versions.items()}}.items()}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def differing_settings(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Settings that are not the same in all runs: key -> value in each row, a list of values where its runs differ."""
    settings = [[flat_settings(run) for run in row.runs] for row in rows]
    keys = dict.fromkeys(key for row in settings for run in row for key in run)
    values = {key: [[run.get(key) for run in row] for row in settings] for key in keys}
    differing = {k: of_rows for k, of_rows in values.items() if len({stable_hash(v) for r in of_rows for v in r}) > 1}
    return {
        key: [of_runs[0] if all(value == of_runs[0] for value in of_runs) else of_runs for of_runs in of_rows]
        for key, of_rows in differing.items()
    }


def scores(runs: Sequence[Contestant]) -> dict[str, Score]:
    """mAP50-95 of each arm that was measured in all of the runs."""
    found = {name: _values(runs, name) for name in FOLDERS}
    return {
        name: Score(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))
        for name, values in found.items()
        if values
    }


def _values(runs: Sequence[Contestant], name: str) -> list[float]:
    arms = [run.arms.get(name) or Arm() for run in runs]
    if name == "teacher":  # one that several runs adopted is one model, not several trainings
        arms = list({arm.sha256 or str(number): arm for number, arm in enumerate(arms)}.values())
    values = [value for arm in arms for value in ([one["mAP50_95"] for one in arm.seeds] or [arm.mAP50_95])]
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else []


def _row(place: int, runs: tuple[Contestant, ...], found: dict[str, Score], best: tuple[Contestant, ...]) -> Row:
    notes: list[Note] = []
    gain, verdict = _gain(runs, notes)
    to_best = {} if runs is best else _between(runs, "student", best, "student", notes)
    standing = BEST if runs is best else "" if not to_best else BELOW if to_best["high"] < 0 else EVEN
    if "student" not in found:
        standing, to_best = "", {}
        notes.append(Note("not_measured"))
    return Row(runs, place, found, gain, verdict, to_best, standing, tuple(dict.fromkeys(notes)))


def _gain(runs: tuple[Contestant, ...], notes: list[Note]) -> tuple[dict[str, float], str]:
    """Student minus control and its verdict: as the run itself found them, or over all seeds that were folded."""
    results = runs[0].inputs.results
    if len(runs) == 1 and (known := proof.difference(results, "student", "control")):
        return known, str(results.verdict.get("name", ""))
    found = _between(runs, "student", runs, "control", notes)
    if not found:
        return {}, ""
    effect = results.measured.get("min_effect")
    effect = runs[0].config.compare.min_effect if effect is None else float(effect)
    return found, judge(Interval(**found), effect, len(runs[0].truth), len(runs)).name


def _between(
    runs: Sequence[Contestant], arm: str, others: Sequence[Contestant], other: str, notes: list[Note]
) -> dict[str, float]:
    """One model minus another from the detections on disk, which are those of each run's first seed."""
    try:
        first, second = [run.matches(arm) for run in runs], [run.matches(other) for run in others]
        found = difference(first, second, runs[0].view.names)
    except KdyoloError as error:
        notes.append(Note("no_interval", error.message))
        return {}
    if arm == other and any(len(run.seeds) > 1 for run in (*runs, *others)):
        notes.append(Note("first_seed"))
    return {} if found is None else found.to_json()
