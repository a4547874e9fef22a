"""What `kdyolo benchmark` measures: files or a run's own models, on a folder's or a run's images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdyolo.config import RuntimeSettings
from kdyolo.errors import ConfigError
from kdyolo.progress import Progress
from kdyolo.stages.base import ARMS
from kdyolo.storage import RunDir

if TYPE_CHECKING:
    from kdyolo.datasets.view import View
    from kdyolo.evaluation.benchmark import Model

IMGSZ = 640


def benchmark(
    models: Sequence[str | Path],
    images: Path | None,
    run: RunDir | None,
    backends: Sequence[str] | None,
    imgsz: int | None,
    batches: Sequence[int],
    timed: int,
    runtime: RuntimeSettings,
    progress: Progress,
) -> dict[str, Any]:
    """Resolve names, files and packages, then measure; see `kdyolo.api.benchmark`.

    Raises:
        ConfigError: Nothing says what to measure or on which images.
        KdyoloError: See `kdyolo.evaluation.benchmark.benchmark`.
    """
    from kdyolo.datasets.images import find_images
    from kdyolo.datasets.view import load_view, verify_view
    from kdyolo.evaluation import benchmark as measuring

    if run is None and (images is None or not models):
        raise ConfigError("Nothing says what to measure.", "Give models and --images DIR, or --run RUN.")
    if imgsz is not None and (imgsz < 32 or imgsz % 32):
        raise ConfigError(f"--imgsz {imgsz} is not a multiple of 32.", "640 and 320 are usual.")
    if timed < 1 or not batches or min(batches) < 1:
        raise ConfigError("--timed and --batch take numbers from 1.", "The defaults are 60 and 1,4,8.")
    chosen, skipped = _backends(backends)
    view = None
    if run is not None:
        run.require("split")
        view = load_view(run.stage("split"))
        verify_view(view, ("test",))
    entries = _models(models, run, view, imgsz)
    test = [image.image for image in view.splits["test"]] if view else []
    shown = test if images is None else find_images(images)
    train = [image.image for image in view.splits["train"]] if view else shown
    plan = measuring.Plan(entries, chosen, shown, train, view, batches, timed, runtime, backends is None)
    result = measuring.benchmark(plan, progress)
    result["skipped"] = skipped
    result["warnings"] = _warnings(result, entries, view)
    for sentence in result["warnings"]:
        progress.warn(sentence)
    return result


def _backends(names: Sequence[str] | None) -> tuple[list[str], list[dict[str, str]]]:
    """The backends to use, and the usual ones that this machine lacks, with the reason.

    Raises:
        ConfigError: There is no backend of that name.
        EnvironmentFault: One that was asked for cannot run here.
    """
    from kdyolo.engine.export import BACKENDS, DEFAULT_BACKENDS, missing

    wanted = list(dict.fromkeys(names or DEFAULT_BACKENDS))
    if unknown := [name for name in wanted if name not in BACKENDS]:
        raise ConfigError(f"There is no backend '{unknown[0]}'.", f"Choose from {', '.join(BACKENDS)}.")
    faults = {name: fault for name in wanted if (fault := missing(BACKENDS[name]))}
    if names and faults:
        raise next(iter(faults.values()))
    skipped = [{"backend": name, "reason": f"{fault.message} {fault.hint}"} for name, fault in faults.items()]
    return [name for name in wanted if name not in faults], skipped


def _models(names: Sequence[str | Path], run: RunDir | None, view: View | None, imgsz: int | None) -> list[Model]:
    """The models: those of the run by arm, and files; without any, all arms that are done."""
    found: list[Model] = []
    wanted = names or [arm for arm, stage in ARMS.items() if run and run.finished(stage)]
    if not wanted and run is not None:
        run.require("student")  # says what is missing
    for name in wanted:
        if run is not None and str(name) in ARMS:
            found += _of_arm(run, str(name), imgsz)
        else:
            found.append(_of_file(Path(name), view, imgsz))
    taken: set[str] = set()
    return [_unlike(model, taken) for model in found]


def _of_arm(run: RunDir, arm: str, imgsz: int | None) -> list[Model]:
    from kdyolo.evaluation.benchmark import Model
    from kdyolo.pseudo.team import members

    record, folder = run.require(ARMS[arm]), run.stage(ARMS[arm])
    size = imgsz or int(record.facts["imgsz"])
    if arm != "teacher":
        return [Model(arm, folder / "best.pt", size)]
    return [Model(arm, checkpoint, size, class_map) for checkpoint, class_map in members(folder)]


def _of_file(path: Path, view: View | None, imgsz: int | None) -> Model:
    from kdyolo.engine import checkpoints
    from kdyolo.evaluation.benchmark import Model

    loaded, _ = checkpoints.load(path)
    class_map, foreign = None, False
    if view is not None:
        own = {name: number for number, name in enumerate(view.names)}
        class_map = {number: own[name] for number, name in loaded.names.items() if name in own}
        foreign = not class_map
    return Model(path.stem, path, imgsz or IMGSZ, class_map, foreign)


def _unlike(model: Model, taken: set[str]) -> Model:
    """The model under a name that no other has: its folder's before it, then a number behind it."""
    folder = f"{model.checkpoint.parent.name}/{model.name}"
    names = [model.name, folder, *(f"{folder}-{number}" for number in range(2, len(taken) + 3))]
    name = next(name for name in names if name not in taken)
    taken.add(name)
    return dataclasses.replace(model, name=name)


def _warnings(result: dict[str, Any], models: Sequence[Model], view: View | None) -> list[str]:
    """What the figures alone do not tell, in sentences."""
    from kdyolo.evaluation.speed import TOLERANCE

    sentences = []
    rows = result["rows"]
    if view is None and any(row["precision"] == "int8" for row in rows):
        sentences.append(
            f"int8 was calibrated on {result['calibration_images']} of the images given, the ones that are timed; with "
            "--run it is on training images."
        )
    if foreign := [model.name for model in models if model.foreign]:
        sentences.append(f"{', '.join(foreign)} knows no class of the run's data set: its accuracy was not measured.")
    rounds = rows[0]["rounds"]
    if rounds["apart"] > TOLERANCE:
        sentences.append(
            f"Even the {rounds['kept']} quietest of {rounds['timed']} rounds are {100 * rounds['apart']:.0f} % apart: "
            "something else works on this machine, and another run may differ as much."
        )
    shaky = sorted({f"{row['model']} {row['backend']}" for row in rows if not row["warmup"]["stable"]})
    if shaky:
        sentences.append(
            f"Times were still changing after the warm-up ({', '.join(shaky)}): is the machine busy otherwise?"
        )
    return sentences + [f"{one['model']} {one['backend']} was left out: {one['reason']}" for one in result["failed"]]
