"""Stage `compare`: teacher, distilled student and control on the test split, in accuracy, size and speed."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdyolo.config import Config
from kdyolo.stages.base import ARMS, LONGER, Stage, StageContext, StageResult
from kdyolo.storage import RunDir, StageRecord, atomic_path, sha256_file, write_json

if TYPE_CHECKING:
    from kdyolo.boxes import Detections
    from kdyolo.datasets.view import View
    from kdyolo.engine.detector import Detector
    from kdyolo.evaluation.accuracy import Accuracy


_FIGURES = ("boxes", "found", "false_alarms", "precision", "recall", "mAP50", "mAP75", "mAP50_95", "confidence")


def _settings(config: Config) -> dict[str, Any]:
    runtime = {
        "device": config.runtime.device,
        "threads": config.runtime.threads,
        "precision": config.runtime.precision,
    }
    return {
        "compare": config.compare.model_dump(mode="json", exclude={"require"}),
        **({"equal_compute": True} if config.equal_compute else {}),
        "runtime": runtime,
        "teacher_imgsz": config.teacher.imgsz,
        "student_imgsz": config.student.imgsz,
    }


def _check(run: RunDir, config: Config) -> None:
    from kdyolo.engine.environment import require_machine

    require_machine(config.runtime)


def compare(context: StageContext) -> StageResult:
    """Leave ``results.json``, ``predictions_<arm>.csv`` and ``examples.json``.

    The test split is read here and nowhere before; no choice was made on it.

    Raises:
        DatasetError: A validation or test image was changed since the split.
    """
    from kdyolo.datasets.view import load_view, verify_view
    from kdyolo.evaluation.accuracy import USUAL_CONF, evaluate
    from kdyolo.evaluation.gallery import gallery
    from kdyolo.evaluation.proof import prove
    from kdyolo.evaluation.sentences import warning
    from kdyolo.evaluation.speed import measure
    from kdyolo.evaluation.splits import detect, truths

    config, run, folder = context.config, context.run, context.run.stage("compare")
    folder.mkdir(parents=True, exist_ok=True)
    view = load_view(run.stage("split"))
    verify_view(view, ("val", "test"))
    images, settings, progress = view.splits["test"], config.compare, context.progress
    stages = ARMS | (LONGER if config.equal_compute else {})
    records = {arm: run.require(stage) for arm, stage in stages.items()}
    detectors = {arm: _detector(context, view, records[arm], stage) for arm, stage in stages.items()}
    truth = truths(images)
    found = {
        arm: detect(detector, images, settings.conf, settings.iou, progress, f"{arm} on test")
        for arm, detector in detectors.items()
    }
    chosen = {arm: _operating_point(context, view, detector, arm) for arm, detector in detectors.items()}
    points = {arm: USUAL_CONF if point is None else point for arm, point in chosen.items()}
    accuracy = {arm: evaluate(truth, found[arm], view.names, confidence=points[arm]) for arm in stages}
    progress.start("speed", settings.warmup_images + settings.timed_images)
    latency = measure(
        detectors,
        [i.image for i in images],
        settings.timed_images,
        settings.warmup_images,
        iou=settings.iou,
        tick=progress.update,
    )
    progress.finish()
    trainings = {arm: [found[arm], *_of_more_seeds(context, view, records[arm])] for arm in stages}
    proof = prove(truth, trainings, accuracy, view.names, settings.min_effect)
    arms = {
        arm: {**_arm(run, records[arm], detectors[arm], accuracy[arm], latency[arm]), **proof["arms"][arm]}
        for arm in stages
    }
    for arm, each in trainings.items():
        if len(each) > 1:
            arms[arm]["seeds"] = _by_seed(records[arm], [evaluate(truth, one, view.names) for one in each])
    warned = _warned(arms, records["teacher"], config)
    results = {
        "split": "test",
        "images": len(images),
        "classes": list(view.names),
        "arms": arms,
        "verdict": proof["verdict"],
        "uncertainty": proof["uncertainty"],
        "inheritance": proof["inheritance"],
        "student_keeps": _ratio(*(_mean(arms, proof, arm) for arm in ("student", "teacher"))),
        "measured": {
            **_measured(context, detectors["student"], len(images)),
            "confidence_from": "val",
            "without_choice": [arm for arm, point in chosen.items() if point is None],
        },
        "same_start": _same(records, "initial_sha256"),
        "same_steps": _same(records, "optimizer_steps"),
        "versions": records["student"].versions,
        "warnings": [warning(fact) for fact in warned],
        "warning_facts": warned,
    }
    write_json(folder / "results.json", results)
    tables = [_write_predictions(folder / f"predictions_{arm}.csv", found[arm], view.names) for arm in stages]
    drawn = {arm: found[arm] for arm in ARMS}
    shown = gallery(view, "test", truth, drawn, points, proof["inheritance"]["gallery"], settings.examples)
    write_json(folder / "examples.json", shown)
    outputs = [folder / "results.json", folder / "examples.json", *tables]
    return StageResult(outputs, {"images": len(images)}, _summary(arms))


def _detector(context: StageContext, view: View, record: StageRecord, stage: str) -> Detector:
    from kdyolo.engine.detector import Detector
    from kdyolo.pseudo import team

    folder = context.run.stage(stage)
    if stage == "teacher":
        pseudo = context.run.stage("pseudo")
        weights = team.read_weights(pseudo) if context.config.teacher.more else None
        return team.load(folder, record.facts["imgsz"], context.config.runtime, view.names, weights)
    return Detector(folder / "best.pt", record.facts["imgsz"], context.config.runtime, view.names)


def _operating_point(context: StageContext, view: View, detector: Detector, arm: str) -> float | None:
    """A confidence chosen on validation images, for on test images it would flatter every model; None without a hit."""
    from kdyolo.evaluation.splits import score

    settings, title = context.config.compare, f"{arm} on val"
    images = view.splits["val"]
    return score(detector, images, view.names, context.progress, title, settings.conf, settings.iou).choice


def _of_more_seeds(context: StageContext, view: View, record: StageRecord) -> list[dict[str, Detections]]:
    """What the trainings of the other seeds find, if there are any."""
    from kdyolo.engine.detector import Detector
    from kdyolo.evaluation.splits import detect

    settings, runtime, folder = context.config.compare, context.config.runtime, context.run.stage(record.stage)
    found = []
    for one in record.facts.get("seeds", [])[1:]:
        detector = Detector(folder / one["folder"] / "best.pt", record.facts["imgsz"], runtime, view.names)
        title = f"{record.stage} of seed {one['seed']} on test"
        found.append(detect(detector, view.splits["test"], settings.conf, settings.iou, context.progress, title))
    return found


def _by_seed(record: StageRecord, accuracy: Sequence[Accuracy]) -> list[dict[str, Any]]:
    return [
        {"seed": one["seed"], "mAP50": figures.mAP50, "mAP50_95": figures.mAP50_95}
        for one, figures in zip(record.facts["seeds"], accuracy, strict=True)
    ]


def _arm(
    run: RunDir, record: StageRecord, detector: Detector, accuracy: Accuracy, latency: Mapping[str, Any]
) -> dict[str, Any]:
    checkpoint = run.stage(record.stage) / "best.pt"
    measured = accuracy.to_json()
    facts = record.facts
    return {
        "model": facts["model"],
        "labels": facts.get("labels"),
        "scheme": facts.get("scheme"),
        "method": facts.get("method"),
        **{name: measured[name] for name in _FIGURES},
        "per_class": measured["per_class"],
        "curves": measured["curves"],
        "params": detector.params,
        "gflops": detector.gflops,
        "size_mb": round(checkpoint.stat().st_size / 1e6, 2),
        "train_seconds": facts.get("train_seconds"),
        "epochs": facts.get("epochs"),
        "relative_compute": facts.get("relative_compute"),
        "imgsz": facts["imgsz"],
        "train_images": facts.get("images"),
        "label_boxes": facts.get("label_boxes"),
        "labels_sha256": facts.get("labels_sha256"),
        "initial_sha256": facts.get("initial_sha256"),
        "optimizer_steps": facts.get("optimizer_steps"),
        "trained_on": {name: facts.get(name) for name in ("device", "precision", "threads", "cached")},
        "latency_ms": dict(latency),
        "fps": round(1000 / latency["mean"], 2),
        "checkpoint": checkpoint.relative_to(run.root).as_posix(),
        "sha256": sha256_file(checkpoint),
    }


def _measured(context: StageContext, detector: Detector, images: int) -> dict[str, Any]:
    from kdyolo.engine.checkpoints import GFLOPS_IMGSZ
    from kdyolo.engine.detector import MAX_DET
    from kdyolo.engine.environment import processor_name
    from kdyolo.evaluation.speed import TIMED_CONF

    settings = context.config.compare
    return {
        "device": str(detector.device),
        "processor": processor_name(),
        "platform": platform.platform(),
        "precision": detector.precision,
        "threads": detector.threads,
        "gflops_imgsz": GFLOPS_IMGSZ,
        "max_det": MAX_DET,
        "timed_conf": TIMED_CONF,
        "different_images": min(settings.timed_images, images),
        **settings.model_dump(exclude={"examples", "require"}),
    }


def _mean(arms: Mapping[str, Any], proof: Mapping[str, Any], arm: str) -> float | None:
    """mAP50-95 of an arm, the mean over its trainings."""
    over: float | None = proof["uncertainty"].get("arms", {}).get(arm, {}).get("mAP50_95", arms[arm]["mAP50_95"])
    return over


def _ratio(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else round(part / whole, 4)


def _same(records: Mapping[str, StageRecord], fact: str) -> bool | None:
    ours, control = (records[arm].facts.get(fact) for arm in ("student", "control"))
    return None if ours is None or control is None else bool(ours == control)


def _warned(arms: Mapping[str, Mapping[str, Any]], teacher: StageRecord, config: Config) -> list[dict[str, Any]]:
    """What the figures alone do not tell, see `kdyolo.evaluation.sentences.warning`; what follows, the report says."""
    found: list[dict[str, Any]] = []
    if rare := [c["class"] for c in arms["teacher"]["per_class"] if c["boxes"] == 0]:
        found.append({"of": "no_box", "classes": rare})
    if saw := teacher.facts.get("saw"):
        if saw["test"]:
            found.append({"of": "saw_test", "images": saw["test"]})
    elif "adopted_from" in teacher.facts:
        found.append({"of": "trained_elsewhere"})
    if config.distill.assistant is not None:
        original = None if config.teacher.trained_on is None else config.teacher.model
        found.append({"of": "assistant", "model": config.distill.assistant, "teacher": original})
    return found


def _write_predictions(path: Path, found: Mapping[str, Detections], names: Sequence[str]) -> Path:
    """Every detection that counted, corners in pixels, so that any figure can be computed again."""
    import pandas as pd

    from kdyolo.text import neutralise

    rows = [
        (neutralise(image), int(c), neutralise(names[c]), *box, score)
        for image, d in found.items()
        for c, box, score in zip(d.cls, d.xyxy.tolist(), d.score.tolist(), strict=True)
    ]
    table = pd.DataFrame(rows, columns=["image", "class_id", "class", "x1", "y1", "x2", "y2", "score"])
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.4f", lineterminator="\n")
    return path


def _summary(arms: Mapping[str, Mapping[str, Any]]) -> str:
    figures = (f"{name} {arm['mAP50_95']:.3f}" for name, arm in arms.items() if arm["mAP50_95"] is not None)
    return "mAP50-95 on test: " + ", ".join(figures)


STAGE = Stage(
    name="compare",
    command="compare",
    needs=("split", "teacher", "student", "baseline"),
    settings=_settings,
    inputs=lambda config: {},
    versions=("kdyolo", "ultralytics", "torch", "torchvision", "pycocotools"),
    work=compare,
    sections=("compare", "runtime"),
    check=_check,
)
