"""Check every image of a data set and what only shows when all are seen together."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from kdyolo.config import AuditSettings
from kdyolo.datasets.image_checks import check_images
from kdyolo.datasets.sample import Dataset, Sample, printable
from kdyolo.errors import DatasetError
from kdyolo.progress import Progress

_WHOLE_IMAGE = 0.98
_ENOUGH_BOXES = 10


def check_dataset(dataset: Dataset, audit: AuditSettings, progress: Progress) -> None:
    """Open every image, quarantine what cannot be used, and record what was found in `dataset`.

    Args:
        dataset: As read; its samples get their `check` and, where bad, their `quarantine`.
        audit: Limits.
        progress: Shown a bar.
    """
    check_images(dataset, audit, progress)
    _check_missing_labels(dataset, audit)
    _check_label_collisions(dataset)
    _check_case(dataset)
    _check_copies(dataset)
    _check_whole_image_boxes(dataset)


def require_sound(dataset: Dataset, audit: AuditSettings, full_list: Path) -> None:
    """Fail where too much is quarantined or nothing is left to learn from.

    Args:
        dataset: Checked.
        audit: How much may be quarantined.
        full_list: The file to point to.

    Raises:
        DatasetError: It names the worst findings.
    """
    bad = [sample for sample in dataset.samples if sample.quarantine]
    if len(bad) > audit.max_bad_fraction * len(dataset.samples):
        kinds = ", ".join(f"{count} {code}" for code, count in Counter(s.quarantine for s in bad).most_common(5))
        named = "; ".join(f"{printable(s.name)}: {s.quarantine}" for s in bad[:3])
        raise DatasetError(
            f"{len(bad)} of {len(dataset.samples)} images cannot be used ({kinds}), for example {named}.",
            f"The full list is in {full_list}. Repair or remove them, or allow more with "
            f"-S audit.max_bad_fraction={min(1.0, len(bad) / len(dataset.samples) + 0.01):.2f}",
        )
    if not any(len(sample.cls) for sample in dataset.usable):
        raise DatasetError("No usable image has a box.", f"See {full_list}; check that labels lie where expected.")


def _check_missing_labels(dataset: Dataset, audit: AuditSettings) -> None:
    for sample in dataset.usable:
        if sample.label is not None:
            continue
        if audit.require_labels:
            sample.reject("missing_label")
            dataset.add("missing_label", "error", sample.name, "The image has no label file.")
        else:
            dataset.add("missing_label", "warning", sample.name, "The image has no label file: taken as background.")


def _check_label_collisions(dataset: Dataset) -> None:
    by_label: dict[Path, list[Sample]] = defaultdict(list)
    for sample in dataset.samples:
        if sample.label is not None:
            by_label[sample.label].append(sample)
    for samples in by_label.values():
        if len(samples) > 1:
            listed = " and ".join(printable(sample.name) for sample in samples)
            for sample in samples:
                sample.reject("label_collision")
                message = f"{listed} share one label file; rename one image and give it its own."
                dataset.add("label_collision", "error", sample.name, message)


def _check_case(dataset: Dataset) -> None:
    by_name: dict[str, list[str]] = defaultdict(list)
    for sample in dataset.samples:
        by_name[sample.name.casefold()].append(sample.name)
    for names in by_name.values():
        for name in names[1:]:
            message = f"Its name differs from {printable(names[0])} in upper and lower case only."
            dataset.add("case_only_name", "warning", name, message)


def _check_copies(dataset: Dataset) -> None:
    by_content: dict[str, list[Sample]] = defaultdict(list)
    for sample in dataset.usable:
        by_content[sample.check.sha256].append(sample)
    for first, *copies in by_content.values():
        for copy in copies:
            dataset.add("identical_image", "note", copy.name, f"The same image as {printable(first.name)}.")
            if sorted(_boxes(copy)) != sorted(_boxes(first)):
                message = f"The same image as {printable(first.name)}, with other labels."
                dataset.add("labels_differ", "warning", copy.name, message)


def _boxes(sample: Sample) -> list[tuple[float, ...]]:
    return [(c, *box) for c, box in zip(sample.cls.tolist(), sample.xywhn.round(4).tolist(), strict=True)]


def _check_whole_image_boxes(dataset: Dataset) -> None:
    boxes = sum(len(sample.cls) for sample in dataset.usable)
    whole = sum(int((s.xywhn[:, 2] * s.xywhn[:, 3] >= _WHOLE_IMAGE).sum()) for s in dataset.usable)
    if boxes >= _ENOUGH_BOXES and whole > boxes / 2:
        message = (
            f"{whole} of {boxes} boxes cover the whole image: a detector learns to always answer that, not to find."
        )
        dataset.add("whole_image_boxes", "warning", "", message)
