"""Check every image of a data set and what only shows when all are seen together."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from kdyolo.config import AuditSettings
from kdyolo.datasets.auditing.balance import report_balance, report_rare_classes
from kdyolo.datasets.auditing.box_table import BoxTable
from kdyolo.datasets.auditing.copies import report_copies, report_sources
from kdyolo.datasets.auditing.label_checks import report_labels
from kdyolo.datasets.image_checks import check_images
from kdyolo.datasets.sample import Dataset, Sample, printable
from kdyolo.errors import DatasetError
from kdyolo.progress import Progress


def check_dataset(
    dataset: Dataset, audit: AuditSettings, progress: Progress, *, own_splits: bool = False, near: bool = True
) -> BoxTable:
    """Open every image, quarantine what cannot be used, and record what was found in `dataset`.

    Args:
        dataset: As read; its samples get their `check` and, where bad, their `quarantine`.
        audit: Limits.
        progress: Shown a bar.
        own_splits: The user's own splits are to be used as they are: a leak between them is an error. Where kdyolo
            makes new ones, which keep copies together, copies are only noted.
        near: Look for near and mirrored copies as well, and not for identical ones alone.

    Returns:
        The boxes of the usable images.
    """
    check_files(dataset, audit, progress)
    _check_case(dataset)
    table = BoxTable.of(dataset.usable)
    if not near:
        dataset.near = []
    report_copies(dataset, own_splits)
    report_sources(dataset, own_splits)
    report_labels(dataset, table)
    report_balance(dataset, table)
    return table


def check_files(dataset: Dataset, audit: AuditSettings, progress: Progress) -> None:
    """Open every image and quarantine those that cannot be used, and those whose labels are missing or shared.

    This is what a conversion needs; copies and the labels' quality are not looked at.

    Args:
        dataset: As read; its samples get their `check` and, where bad, their `quarantine`.
        audit: Limits.
        progress: Shown a bar.
    """
    check_images(dataset, audit, progress)
    _check_missing_labels(dataset, audit)
    _check_label_collisions(dataset)


def audit_dataset(
    dataset: Dataset, audit: AuditSettings, shares: tuple[float, float, float], progress: Progress
) -> None:
    """Judge a data set as it is, its own splits included.

    Args:
        dataset: As read.
        audit: Limits.
        shares: Of train, val and test, where the data set has no splits.
        progress: Shown a bar.
    """
    table = check_dataset(dataset, audit, progress, own_splits=True)
    report_rare_classes(dataset, table, shares)


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
    message = "The image has no label file" if dataset.one_file_an_image else "No label file lists the image"
    for sample in dataset.usable:
        if sample.label is not None:
            continue
        if audit.require_labels:
            sample.reject("missing_label")
            dataset.add("missing_label", "error", sample.name, f"{message}.")
        else:
            dataset.add("missing_label", "warning", sample.name, f"{message}: taken as background.")


def _check_label_collisions(dataset: Dataset) -> None:
    by_label: dict[Path, list[Sample]] = defaultdict(list)
    for sample in dataset.samples:
        if sample.label is not None and dataset.one_file_an_image:
            by_label[sample.label].append(sample)
    for samples in by_label.values():
        if len(samples) > 1:
            listed = " and ".join(printable(sample.name) for sample in samples)
            for sample in samples:
                sample.reject("label_collision")
                message = f"{listed} share one label file."
                partner = next(other.name for other in samples if other is not sample)
                dataset.add("label_collision", "error", sample.name, message, partner=partner)


def _check_case(dataset: Dataset) -> None:
    by_name: dict[str, list[str]] = defaultdict(list)
    for sample in dataset.samples:
        by_name[sample.name.casefold()].append(sample.name)
    for names in by_name.values():
        for name in names[1:]:
            message = f"Its name differs from {printable(names[0])} in upper and lower case only."
            dataset.add("case_only_name", "warning", name, message, partner=names[0])
