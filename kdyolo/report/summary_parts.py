"""The parts of ``summary.json``, each field with its unit and range; `kdyolo.report.summary` puts them together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

VerdictName = Literal["gain", "loss", "no gain", "inconclusive"]
Share = Annotated[float, Field(ge=0, le=1)]
Signed = Annotated[float, Field(ge=-1, le=1)]
Amount = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Part(BaseModel):
    """Anything in a summary."""

    model_config = ConfigDict(
        from_attributes=True, populate_by_name=True, json_schema_serialization_defaults_required=True
    )


class Accuracy(Part):
    """Accuracy on the compared split, all in [0, 1]; null where there is nothing to find."""

    boxes: Count | None = Field(description="Truth boxes.")
    found: Count | None = Field(description="How many of them were found at the operating point, IoU 0.5.")
    false_alarms: Count | None = Field(description="Boxes at the operating point that found none of them.")
    precision: Share | None = Field(description="At the operating point, IoU 0.5; a mean over classes.")
    recall: Share | None = Field(description="At the operating point, IoU 0.5; a mean over classes.")
    mAP50: Share | None = Field(description="Average precision at IoU 0.5, mean over classes.")  # noqa: N815
    mAP75: Share | None = Field(description="Average precision at IoU 0.75, mean over classes.")  # noqa: N815
    mAP50_95: Share | None = Field(  # noqa: N815
        description="Average precision, mean over IoU 0.50:0.05:0.95 and over classes, as in COCO."
    )


class ClassAccuracy(Accuracy):
    """The same figures of a single class."""

    name: str = Field(alias="class", description="Name of the class.")


class SizeAccuracy(Part):
    """Objects of one size, by their area in the image file."""

    boxes: Count = Field(description="Truth boxes of this size.")
    mAP50_95: Share | None = Field(description="mAP50-95 over these objects.")  # noqa: N815


class Calibration(Part):
    """How far scores are from the share of boxes that are right."""

    error: Share = Field(description="Expected calibration error.")
    confidence: Share = Field(description="Mean score of the detections that count.")
    precision: Share = Field(description="Share of them that found a truth box.")


class Quantiles(Part):
    """Milliseconds an image; the named share of the images takes no longer."""

    p50: Amount | None = Field(description="Median, ms.")
    p90: Amount | None = Field(description="90 %, ms.")
    p95: Amount | None = Field(description="95 %, ms.")
    p99: Amount | None = Field(description="99 %, ms.")


class Latency(Quantiles):
    """Milliseconds an image, one image at a time: all together, and by step."""

    mean: Amount | None = Field(description="Mean, ms; fps is 1000 over it.")
    preprocess: Quantiles = Field(description="Resizing and scaling.")
    inference: Quantiles = Field(description="The network.")
    nms: Quantiles = Field(description="Non-maximum suppression.")


class SeedAccuracy(Part):
    """One training of several."""

    seed: int = Field(description="Seed of the training.")
    mAP50: Share | None = Field(description="On the compared split.")  # noqa: N815
    mAP50_95: Share | None = Field(description="On the compared split.")  # noqa: N815


class ArmSummary(Accuracy):
    """One measured model."""

    model: str | None = Field(description="Architecture, such as yolov5n.")
    labels: str | None = Field(description="What it learned from: gt, pseudo, gt+pseudo, gt+pool or pool.")
    scheme: str | None = Field(description="How it heard a teacher beside labels; null if it did not.")
    method: str | None = Field(description="Distillation methods, joined by +; null without a scheme.")
    confidence: Share | None = Field(
        description="The operating point: score from which boxes count for precision, recall and counts."
    )
    per_class: list[ClassAccuracy] = Field(description="One a class, in the order of the data set.")
    sizes: dict[str, SizeAccuracy] = Field(description="small (below 32 x 32 px), medium, large (above 96 x 96 px).")
    calibration: Calibration | None = Field(description="Of the detections; null where not measured.")
    mAP50_lost: dict[str, Signed] = Field(  # noqa: N815
        description="Kind of error (TIDE) -> mAP50 that the model would win without it, in [-1, 1]."
    )
    params: Count | None = Field(description="Number of parameters.")
    gflops: Amount | None = Field(description="Billions of operations of a forward pass at 640 x 640 px.")
    size_mb: Amount | None = Field(description="Size of the checkpoint, MB (1e6 bytes).")
    train_seconds: Amount | None = Field(description="Time of its training, s.")
    epochs: Count | None = Field(description="Epochs trained.")
    imgsz: Count | None = Field(description="Long side that images are resized to, px.")
    optimizer_steps: Count | None = Field(description="Optimiser steps of its training.")
    train_images: Count | None = Field(description="Images it learned from.")
    label_boxes: Count | None = Field(description="Boxes in the labels it learned.")
    labels_sha256: Sha256 | None = Field(description="sha256 over the label files it learned.")
    initial_sha256: Sha256 | None = Field(description="sha256 of the weights it began with.")
    latency_ms: Latency = Field(description="Time an image, ms.")
    fps: Amount | None = Field(description="Images a second: 1000 over the mean latency.")
    checkpoint: str | None = Field(description="File of the model, relative to the run directory.")
    sha256: Sha256 | None = Field(description="sha256 of that file.")
    seeds: list[SeedAccuracy] = Field(description="All trainings, if there are several; other figures are the first's.")


class Headline(Part):
    """One of the large figures of the page, as text."""

    title: str = Field(description="What the figure is; read after the value.")
    value: str = Field(description="The figure as shown, n/a where not measured.")
    note: str = Field(description="What it was made of.")


class Interval(Part):
    """A difference in mAP with its bootstrap interval; mAP in [0, 1], so 0.01 is one point."""

    estimate: Signed = Field(description="From all images.")
    low: Signed = Field(description="Lower end.")
    high: Signed = Field(description="Upper end.")
    level: Share = Field(description="Level of the interval, 0.95 for 95 %.")
    probability_positive: Share = Field(description="Share of the resamples in which the first arm is better.")


class RatioInterval(Interval):
    """A ratio of mAP with its bootstrap interval; 1 is as good."""

    estimate: Amount = Field(description="From all images.")
    low: Amount = Field(description="Lower end.")
    high: Amount = Field(description="Upper end.")


class ClassInterval(Part):
    """The difference between two arms in one class."""

    name: str = Field(alias="class", description="Name of the class.")
    boxes: Count = Field(description="Truth boxes of the class on the compared split.")
    difference: Interval | None = Field(description="mAP50-95 of a minus b; null without a truth box.")


class Pair(Part):
    """Two arms set against each other on the same resamples."""

    a: str = Field(description="First arm.")
    b: str = Field(description="Second arm.")
    difference: dict[str, Interval | None] = Field(description="mAP50_95, mAP50, mAP75 -> a minus b.")
    ratio: dict[str, RatioInterval | None] = Field(description="mAP50_95, mAP50, mAP75 -> a over b.")
    per_class: list[ClassInterval] = Field(description="One a class, in the order of the data set.")


class VerdictSummary(Part):
    """What the interval of student minus control in mAP50-95 says."""

    name: VerdictName = Field(description="The verdict.")
    sentence: str = Field(description="The same in words, with its reasons and limits.")
    needed_images: Count | None = Field(default=None, description="Test images at which it would be settled.")
    needed_seeds: Count | None = Field(default=None, description="Trainings of each model for the same.")


class Inherited(Part):
    """What became of the teacher's errors of one kind, in boxes."""

    teacher: Count = Field(description="Errors of the teacher.")
    student: Count = Field(description="Errors of the student.")
    control: Count = Field(description="Errors of the control.")
    copied: Count = Field(description="Errors of the teacher that the student makes too.")
    copied_beyond_control: Count = Field(description="Those of them that the control does not make.")
    fixed: Count = Field(description="Errors of the teacher where the student is right.")
    added: Count = Field(description="Errors of the student that the teacher does not make.")
    control_copied: Count = Field(description="Errors of the teacher that the control makes too: the base rate.")
    control_fixed: Count = Field(description="Errors of the teacher where the control is right.")
    control_added: Count = Field(description="Errors of the control that the teacher does not make.")


class Proof(Part):
    """How sure the result is, and what the student inherited; empty or null where it was not measured."""

    verdict: VerdictSummary | None = Field(description="The verdict, with what would settle it.")
    resamples: Count | None = Field(description="Bootstrap resamples.")
    trainings: Count | None = Field(description="Most trainings that any arm has.")
    min_effect_points: Amount | None = Field(
        description="Smallest gain worth having, mAP50-95 points, as set when the arms were compared."
    )
    rare_classes: list[str] = Field(description="Classes with too few truth boxes to say much about.")
    pairs: list[Pair] = Field(description="Arms set against each other.")
    inheritance: dict[str, Inherited] = Field(description="missed, wrong_class, loose, false_box -> counts.")


class Made(Part):
    """What the run was made with, so that it can be made again."""

    settings_sha256: Sha256 | None = Field(description="sha256 of config.yaml.")
    dataset_sha256: str | None = Field(description="sha256 over the images and labels that were used.")
    seed: int | None = Field(description="Seed of weights, shuffling and augmentation.")
    split_seed: int | None = Field(description="Seed of the split.")
    git_commit: str | None = Field(description="Commit checked out where the run was started.")
    python: str | None = Field(description="Version of Python.")
    platform: str | None = Field(description="Operating system.")
    cpu: str | None = Field(description="Processor.")
    packages: dict[str, str] = Field(description="Package -> version that the run was made with.")
    stages: dict[str, str] = Field(description="Finished stage -> key: sha256 of its settings, inputs and versions.")
