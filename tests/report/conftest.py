"""A small run directory whose every figure is made up: it stands for no model, data set or measurement."""

import functools
import json
import math

import cv2
import numpy as np
import pytest

from kdyolo.boxes import Detections, Truth
from kdyolo.evaluation.accuracy import evaluate
from kdyolo.evaluation.proof import prove
from kdyolo.storage import RunDir, StageRecord, write_json

CLASSES = ["leaf", "spot", "mite"]
QUALITY = {"teacher": 0.62, "student": 0.574, "control": 0.561}
MODELS = {"teacher": "yolov5x", "student": "yolov5n", "control": "yolov5n"}
LABELS = {"teacher": "ground truth", "student": "pseudo", "control": "ground truth"}
EPOCHS = 12


def synthetic_arm(name, classes, boxes):
    """Plausible figures of one arm; the last class has no box and so no figures."""
    q, large = QUALITY[name], name == "teacher"
    rows = []
    for i, (c, n) in enumerate(zip(classes, boxes, strict=True)):
        scores = [q + 0.19 - i / 50, q + 0.17 - i / 60, q + 0.26 - i / 40, q + 0.05 - i / 50, q - i / 30]
        keys = ("precision", "recall", "mAP50", "mAP75", "mAP50_95")
        counts = {"boxes": n, "found": n - 3, "false_alarms": i + 6} if n else {"boxes": 0}
        rows.append({"class": c, **counts, **dict(zip(keys, scores if n else [None] * 5, strict=True))})
    recall = [i / 100 for i in range(101)]
    curve = [max(0.0, 1 - r ** (9 * q)) for r in recall]
    ms = 84.0 if large else 11.5
    return {
        "model": MODELS[name],
        "labels": LABELS[name],
        **{"precision": q + 0.18, "recall": q + 0.16, "mAP50": q + 0.25, "mAP75": q + 0.04, "mAP50_95": q},
        **{"confidence": 0.34, "boxes": sum(boxes), "found": sum(boxes) - 6, "false_alarms": 13},
        "per_class": rows,
        "curves": {"recall": recall, "precision": {"all": curve, **dict.fromkeys(classes, curve)}},
        "params": 97_231_450 if large else 2_503_919,
        "gflops": 246.9 if large else 7.2,
        "size_mb": 195.02 if large else 5.28,
        "train_seconds": 6421.7 if large else 312.4,
        "epochs": EPOCHS,
        "imgsz": 640 if large else 320,
        "optimizer_steps": 1560,
        "latency_ms": {
            "p50": ms,
            "p95": ms * 1.2,
            "mean": ms * 1.04,
            "preprocess": {"p50": 0.7, "p95": 0.9},
            "inference": {"p50": ms - 1.3, "p95": ms * 1.17},
            "nms": {"p50": 0.6, "p95": 0.8},
        },
        "fps": 1000 / (ms * 1.04),
        "checkpoint": f"{name}/best.pt",
        "sha256": f"{name.encode().hex():0<64}",
    }


def synthetic_results(classes=CLASSES, arms=("teacher", "student", "control")):
    """``compare/results.json``."""
    boxes = [40, 21, *[0] * (len(classes) - 2)]
    return {
        "split": "test",
        "images": 72,
        "classes": list(classes),
        "arms": {name: synthetic_arm(name, classes, boxes) for name in arms},
        "student_keeps": 0.574 / 0.62,
        "measured": {
            **{
                "device": "cpu",
                "precision": "bf16",
                "threads": 2,
                "timed_images": 60,
                "different_images": 60,
                "warmup_images": 10,
            },
            **{"imgsz": None, "conf": 0.001, "iou": 0.7, "max_det": 300, "processor": "a made-up processor"},
            "confidence_from": "val",
        },
        "same_start": True,
        "versions": {"kdyolo": "0.1.0", "torch": "2.9.1"},
        "warnings": [],
    }


def synthetic_proof(classes=CLASSES):
    """``compare/results.json`` of a comparison that says how sure it is, measured on made-up boxes.

    The teacher sees most objects, the student fewer and the control fewest; of the last class there is no box, and of
    the first two there are 37 and 11.
    """
    return json.loads(_proved(tuple(classes)))


@functools.cache
def _proved(classes, images=12):
    rng = np.random.default_rng(0)
    arms = ("teacher", "student", "control")
    truths, found = {}, {arm: {} for arm in arms}
    for number in range(images):
        corners = np.array([[60.0 * i, 10, 60.0 * i + 40, 50] for i in range(4)])
        cls = np.array([0, 0, 0, 1 if number else 0])
        truths[f"{number}.jpg"] = Truth(corners, cls, 300, 100)
        for arm, share in zip(arms, (0.9, 0.7, 0.4), strict=True):
            seen = rng.uniform(size=4) < share
            boxes = np.vstack([corners[seen] + rng.normal(0, 1, (seen.sum(), 4)), [[0, 60, 30, 90]]])
            score = np.append(rng.uniform(0.4, 1, seen.sum()), 0.5)
            found[arm][f"{number}.jpg"] = Detections(boxes, score, np.append(cls[seen], 0))
    accuracy = {arm: evaluate(truths, each, classes) for arm, each in found.items()}
    proof = prove(truths, {arm: [each] for arm, each in found.items()}, accuracy, classes, 0.5)
    results = synthetic_results(classes)
    results["measured"]["min_effect"] = 0.5
    results |= {name: proof[name] for name in ("verdict", "uncertainty", "inheritance")}
    for arm in arms:
        results["arms"][arm] |= proof["arms"][arm]
        results["arms"][arm]["curves"] = accuracy[arm].to_json()["curves"]
    return json.dumps(results)


def synthetic_csv(quality, epochs=EPOCHS, spaces=False):
    """An ultralytics ``results.csv``."""
    names = ["epoch", "time", "train/box_loss", "train/cls_loss", "train/dfl_loss", "metrics/precision(B)"]
    names += ["metrics/recall(B)", "metrics/mAP50(B)", "metrics/mAP50-95(B)", "val/box_loss", "val/cls_loss"]
    names += ["val/dfl_loss", "lr/pg0"]
    lines = [",".join(names)]
    for e in range(1, epochs + 1):
        loss, score = 2 * math.exp(-e / 8) + 1.6 - quality, quality * (1 - math.exp(-e / 4))
        row = [e, 26.1 * e, loss, loss * 1.3, loss * 0.8, score + 0.1, score + 0.08, score + 0.2, score]
        row += [loss * 1.1, loss * 1.4, loss * 0.85, 0.001]
        lines.append(",".join(f"{value:.6g}" for value in row))
    text = "\n".join(lines) + "\n"
    return text.replace(",", ",   ") if spaces else text


def synthetic_image(path):
    """A grey photograph stand-in with two discs."""
    image = np.full((480, 640, 3), 205, np.uint8)
    cv2.circle(image, (150, 150), 50, (60, 160, 60), -1)
    cv2.circle(image, (440, 300), 70, (40, 90, 180), -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


def synthetic_examples(classes=CLASSES):
    """``compare/examples.json``: the teacher finds both, the student one, the control one and a false alarm."""
    first = {"class": classes[0], "xyxy": [100, 100, 200, 200]}
    second = {"class": classes[1], "xyxy": [370, 230, 510, 370]}
    low = {"class": classes[1], "score": 0.05, "xyxy": [0, 0, 60, 60]}
    arms = {
        "teacher": [{**first, "score": 0.93}, {**second, "score": 0.88}, low],
        "student": [{**first, "score": 0.81}, low],
        "control": [{**first, "score": 0.77}, {"class": classes[1], "score": 0.51, "xyxy": [500, 20, 600, 90]}],
    }
    return [{"image": "images/test/leaf 1.jpg", "truth": [first, second], "arms": arms}]


def write_stage(run, name, facts):
    """A finished stage's record over the files in its folder."""
    folder = run.stage(name)
    folder.mkdir(parents=True, exist_ok=True)
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != "stage.json"]
    record = StageRecord(
        stage=name, status="done", key="k", sequence=1, settings={}, inputs={}, versions={}, facts=facts
    )
    record.outputs = run.hash_outputs(files)
    run.write_record(record)


def make_run(root, results=None, examples=None, trained=("teacher", "student", "control"), facts=None):
    """Write a whole run directory and return it."""
    run = RunDir(root)
    run.create()
    synthetic_image(run.stage("split") / "images/test/leaf 1.jpg")
    run.stage("compare").mkdir()
    results = synthetic_results() if results is None else results
    (run.stage("compare") / "results.json").write_text(json.dumps(results))
    (run.stage("compare") / "examples.json").write_text(
        json.dumps(synthetic_examples() if examples is None else examples)
    )
    for arm in trained:
        folder = run.stage("baseline" if arm == "control" else arm)
        folder.mkdir()
        (folder / "results.csv").write_text(synthetic_csv(QUALITY[arm], spaces=arm == "control"))
    facts = facts or {
        "split": {
            "splits": {
                "train": {"images": 336, "boxes_per_class": {"leaf": 180, "spot": 95}},
                "val": {"images": 72, "boxes_per_class": {"leaf": 41, "spot": 20}},
                "test": {"images": 72, "boxes_per_class": {"leaf": 40, "spot": 21}},
            },
            "quarantined": {"truncated": 2, "empty_file": 1},
            "dataset_sha256": "d" * 64,
        },
        "pseudo": {
            "labelled": 320,
            "background": 14,
            "quarantined": 2,
            "boxes": 283,
            "thresholds": {"leaf": 0.41, "spot": 0.33},
        },
        "student": {"images": 336, "best_epoch": 11, "initial_sha256": "e" * 64},
        "baseline": {"images": 336, "best_epoch": 9},
        "compare": {},
    }
    for name, stage_facts in facts.items():
        write_stage(run, name, stage_facts)
    run.config.write_text("seed: 0\nstudent:\n  model: yolov5n\n")
    write_json(
        run.manifest, {"kdyolo": "0.1.0", "python": "3.11.9", "packages": {"torch": "2.9.1"}, "report": {"of": "x"}}
    )
    return run


@pytest.fixture(scope="session")
def synthetic():
    """The functions above: ``make_run``, ``results``, ``proof``, ``examples``."""

    class Synthetic:
        classes = CLASSES
        run = staticmethod(make_run)
        results = staticmethod(synthetic_results)
        proof = staticmethod(synthetic_proof)
        examples = staticmethod(synthetic_examples)

    return Synthetic


@pytest.fixture
def run(tmp_path):
    """A complete synthetic run."""
    return make_run(tmp_path / "run")
