"""The table of pseudo-labels: every teacher box with its score, kept or not, as csv."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kdyolo.boxes import Boxes, Detections, normalise, xyxy_to_xywh
from kdyolo.storage import atomic_path

COLUMNS = ("image", "class_id", "class", "x", "y", "w", "h", "score", "kept", "teacher_sha256")


class PseudoLabels(NamedTuple):
    """The teacher's boxes in one image, in score order.

    Attributes:
        cls: Class ids (N,).
        xywhn: Boxes (N, 4) as shares of the image.
        score: Confidences (N,) in [0, 1].
        kept: Whether each (N,) reaches its class's threshold and so becomes a label.
    """

    cls: NDArray[np.int64]
    xywhn: Boxes
    score: NDArray[np.float64]
    kept: NDArray[np.bool_]


def judge(found: Detections, thresholds: Sequence[float], width: int, height: int) -> PseudoLabels:
    """Normalise a teacher's detections and compare each score with the threshold of its class.

    Left out are boxes that round to no area in a label file, and all but the best of equal ones: boxes that differ only
    outside of the image are one once they are clipped, and training would read them as one.
    """
    xywhn = np.clip(xyxy_to_xywh(normalise(found.xyxy, width, height)), 0, 1).round(6)
    order = np.argsort(-found.score, kind="stable")
    order = order[(xywhn[order, 2:] > 0).all(axis=1)]
    _, first = np.unique(np.column_stack([found.cls[order], xywhn[order]]), axis=0, return_index=True)
    order = order[np.sort(first)]
    cls, score = found.cls[order], found.score[order]
    return PseudoLabels(cls, xywhn[order], score, score >= np.asarray(thresholds)[cls])


def write_table(
    path: Path, labels: Mapping[str, PseudoLabels], class_names: Sequence[str], teacher_sha256: str
) -> None:
    """Write the table, one row a box: columns `COLUMNS`, boxes and scores with 6 decimals."""
    rows: Iterable[tuple[object, ...]] = (
        (image, int(c), class_names[c], *box, score, bool(kept), teacher_sha256)
        for image, found in labels.items()
        for c, box, score, kept in zip(
            found.cls, found.xywhn.tolist(), found.score.tolist(), found.kept.tolist(), strict=True
        )
    )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")


def read_table(path: Path) -> pd.DataFrame:
    """The table `write_table` wrote."""
    return pd.read_csv(path, dtype={"image": str, "class": str}, keep_default_na=False)
