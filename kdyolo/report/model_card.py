"""``model_card.md``: the student in the format that the Hugging Face Hub reads.

Source of the front matter: https://huggingface.co/docs/hub/model-cards and the model index of Papers with Code that it
takes results from, https://github.com/huggingface/hub-docs/blob/main/modelcard.md.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from kdyolo.report import facts, gfm, markdown, proof, verdict
from kdyolo.report.load import Arm, Inputs
from kdyolo.report.numbers import NA, duration, number, plain
from kdyolo.yamlio import dump_yaml

_METRICS = {"mAP50": "mAP50", "mAP50_95": "mAP50-95", "precision": "precision", "recall": "recall"}
_OFFICIAL = re.compile("yolov5[nsmlx]6?u?")
_HUB_MODEL = "Ultralytics/YOLOv5"
_MOST_NAMED = 30


def model_card(inputs: Inputs) -> str | None:
    """Front matter and text; every text of the run is escaped. None for a run without a student."""
    student = inputs.arms.get("student")
    if student is None:
        return None
    results = inputs.results
    context = markdown.figures(inputs) | {
        "student": student,
        "teacher": inputs.arms.get("teacher"),
        "control": inputs.arms.get("control"),
        "named": _named(results.classes),
        "differences": markdown.main_differences(results),
        "copied": proof.copied(results),
        "rare": _named(proof.rare_classes(results)),
        "made": _made(inputs, student),
        "data": _data(inputs),
        "versions": markdown.fact_tables(facts.arrange(_versions(inputs)), "Versions"),
        "hashes": _hashes(inputs),
        "load": gfm.code(_load(student), "python"),
    }
    return f"---\n{dump_yaml(metadata(inputs, student))}---\n\n{gfm.render('model_card.md.j2', context)}"


def metadata(inputs: Inputs, student: Arm) -> dict[str, Any]:
    """The front matter as plain data."""
    teacher, name = inputs.arms.get("teacher"), student.model or "student"
    tags = ["object-detection", "ultralytics", "yolov5", "knowledge-distillation", "kdyolo"]
    data: dict[str, Any] = {
        "license": "agpl-3.0",
        "library_name": "ultralytics",
        "pipeline_tag": "object-detection",
        "tags": [*tags, *([name] if _OFFICIAL.fullmatch(name) else [])],
        "metrics": list(_METRICS.values()),
    }
    if _begun_officially(inputs, name):
        data |= {"base_model": _HUB_MODEL, "base_model_relation": "finetune"}
    if teacher is not None and teacher.model:
        data["teacher_model"] = teacher.model
    scores = {title: getattr(student, key) for key, title in _METRICS.items()}
    metrics = [{"type": title, "name": title, "value": value} for title, value in scores.items() if value is not None]
    if metrics:
        result = {"task": {"type": "object-detection"}, "dataset": _dataset(inputs), "metrics": metrics}
        data["model-index"] = [{"name": f"{name}-{inputs.name}", "results": [result]}]
    return data


def _begun_officially(inputs: Inputs, model: str) -> bool:
    """Whether the student began with the pretrained weights of ultralytics."""
    record = inputs.records.get("student")
    settings = record.settings.get("student", {}) if record else {}
    pretrained = settings.get("from_scratch") is False and settings.get("weights") is None
    return pretrained and _OFFICIAL.fullmatch(model) is not None


def _dataset(inputs: Inputs) -> dict[str, Any]:
    """The compared split, with no more of the data set's path than its last part."""
    described: dict[str, Any] = {"type": "custom", "name": _source(inputs) or "custom", "split": inputs.results.split}
    counts = {"images": inputs.results.images, "sha256": inputs.manifest.get("dataset_sha256")}
    if known := {key: value for key, value in counts.items() if value is not None}:
        described["args"] = known
    return described


def _source(inputs: Inputs) -> str:
    record = inputs.records.get("split")
    source = str(record.facts.get("source") or "") if record else ""
    path = PurePosixPath(source.replace("\\", "/"))
    return (path.parent if path.suffix in (".yaml", ".yml") else path).name


def _named(names: list[str]) -> str:
    """Names in a row; of very many the first."""
    more = f" and {number(len(names) - _MOST_NAMED)} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _made(inputs: Inputs, student: Arm) -> list[tuple[str, str]]:
    """How the student came about."""
    record = inputs.records.get("student")
    settings = record.settings.get("student", {}) if record else {}
    start = {"True": "random weights", "False": "pretrained weights"}.get(str(settings.get("from_scratch")), NA)
    teacher = inputs.arms.get("teacher")
    trained = ", ".join(f"{key} {plain(value)}" for key, value in student.trained_on.items() if value is not None)
    return [
        ("Teacher", plain(teacher.model) if teacher else NA),
        ("Learned from", verdict.lessons(student)),
        ("Scheme", student.scheme or "labels only"),
        ("Method", student.method or "none beside labels"),
        ("Began with", start),
        ("Images learned from", number(student.train_images)),
        ("Boxes in their labels", number(student.label_boxes)),
        ("Epochs", number(student.epochs)),
        ("Optimiser steps", number(student.optimizer_steps)),
        ("Image size, px", number(student.imgsz)),
        ("Training time", duration(student.train_seconds)),
        ("Trained on", trained or NA),
    ]


def _data(inputs: Inputs) -> gfm.Ready:
    """What the split and the teacher's labelling wrote down, without the path of the data set."""
    stages = {"split": "Split", "pseudo": "Pseudo-labels"}
    records = {title: inputs.records[name] for name, title in stages.items() if name in inputs.records}
    arranged = [
        (facts.arrange(record.facts, ("source", "classes", "teacher_val")), title) for title, record in records.items()
    ]
    return gfm.Ready("\n\n".join(markdown.fact_tables(found, title) for found, title in arranged))


def _versions(inputs: Inputs) -> dict[str, Any]:
    names = ("kdyolo", "python", "packages", "seed", "split_seed")
    return {name: inputs.manifest[name] for name in names if name in inputs.manifest}


def _hashes(inputs: Inputs) -> list[tuple[str, str]]:
    arms = zip(markdown.titles(inputs.arms), inputs.arms.values(), strict=True)
    found = [(f"{title} checkpoint", arm.sha256) for title, arm in arms]
    found += [("Settings (config.yaml)", inputs.config_sha256), ("Data set", inputs.manifest.get("dataset_sha256"))]
    found += [("Labels the student learned", inputs.arms["student"].labels_sha256)]
    return [(title, plain(digest)) for title, digest in found]


def _load(student: Arm) -> str:
    options = ['"image.jpg"']
    options += [f"imgsz={student.imgsz}"] if student.imgsz else []
    options += [f"conf={student.confidence:.3f}"] if student.confidence is not None else []
    lines = ("from ultralytics import YOLO", "", 'model = YOLO("best.pt")')
    return "\n".join((*lines, f"results = model.predict({', '.join(options)})", "results[0].show()"))
