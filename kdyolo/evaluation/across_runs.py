"""Models of different runs against one another: whether they were measured on the same images, and how they differ."""

from __future__ import annotations

from collections.abc import Sequence

from kdyolo.config import stable_hash
from kdyolo.datasets.view import View
from kdyolo.errors import DatasetError
from kdyolo.evaluation.bootstrap import Interval, bootstrap
from kdyolo.evaluation.matching import ImageMatches


def fingerprint_of_test(view: View) -> str:
    """sha256 (hex) of what a model is measured on: the test images, their labels, and the class names in their order.

    Raises:
        DatasetError: A label file is missing.
    """
    try:
        images = [[i.image.name, i.sha256, i.label.read_text(encoding="utf-8")] for i in view.splits["test"]]
    except (OSError, UnicodeError) as error:
        raise DatasetError(f"A label of the test split in {view.folder} is missing.", "Restore it.") from error
    return stable_hash({"names": view.names, "images": images})


def difference(
    a: Sequence[Sequence[ImageMatches]], b: Sequence[Sequence[ImageMatches]], class_names: Sequence[str]
) -> Interval | None:
    """mAP50-95 of one model minus another, by `bootstrap` over images and, where there are several, trainings.

    Args:
        a: Trainings of the first model -> matches of each class, by `bootstrap.keyed_matches`.
        b: Of the second one, on the same truth. Where the numbers of trainings differ and neither is 1, the first ones
            of the model that has more are taken.
        class_names: Name of each class.

    Returns:
        None if no class has a truth box.

    Raises:
        ValueError: They were not measured on the same truth.
    """
    count = max(len(a), len(b)) if 1 in (len(a), len(b)) else min(len(a), len(b))
    return bootstrap({"a": a[:count], "b": b[:count]}, class_names).difference("a", "b")
