"""The detections that a comparison left in ``compare/predictions_<arm>.csv``, read back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from kdyolo.boxes import Detections
from kdyolo.errors import DatasetError
from kdyolo.text import neutralise

_CORNERS = ["x1", "y1", "x2", "y2"]
_COLUMNS = {"image": str, "class_id": np.int64, **dict.fromkeys([*_CORNERS, "score"], np.float64)}


def read_predictions(path: Path, images: Iterable[str], classes: int) -> dict[str, Detections]:
    """Image name -> what was found in it; corners and scores are rounded to four decimals in the file.

    Args:
        path: The table, as `stages.compare` writes it.
        images: Names of all images that were looked at; an image without a row is one in which nothing was found.
        classes: Number of classes.

    Raises:
        DatasetError: The table cannot be read, or it is of other images or classes.
    """
    names = {neutralise(name): name for name in images}
    try:
        table = pd.read_csv(path, usecols=list(_COLUMNS), dtype=_COLUMNS, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read.", "Run `kdyolo compare` on that run again.") from error
    numbers = table[[*_CORNERS, "score"]].to_numpy()
    if not np.isfinite(numbers).all() or not table["class_id"].between(0, classes - 1).all():
        raise DatasetError(f"{path} holds values that cannot be.", "Run `kdyolo compare` on that run again.")
    if not set(table["image"]) <= names.keys():
        raise DatasetError(f"{path} is not of this test split.", "Run `kdyolo compare` on that run again.")
    groups = {names[str(image)]: rows for image, rows in table.groupby("image", sort=False)}
    return {name: _detections(groups.get(name, table.iloc[:0])) for name in names.values()}


def _detections(rows: pd.DataFrame) -> Detections:
    return Detections(rows[_CORNERS].to_numpy(), rows["score"].to_numpy(), rows["class_id"].to_numpy())
