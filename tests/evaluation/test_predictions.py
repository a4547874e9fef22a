"""Detections on disk: read back as they were written, and refused where they cannot be right."""

import numpy as np
import pandas as pd
import pytest

from kdyolo.boxes import Detections
from kdyolo.errors import DatasetError
from kdyolo.evaluation.predictions import read_predictions
from kdyolo.stages.compare import _write_predictions

NAMES = ("leaf", "spot")


@pytest.fixture
def written(tmp_path):
    rng = np.random.default_rng(0)
    images = ["=1+2.jpg", "NA", "007", 'a,"b".jpg', "empty.jpg"]
    found = {
        name: Detections(rng.uniform(0, 99, (n, 4)).round(4), rng.uniform(0, 1, n).round(4), rng.integers(0, 2, n))
        for n, name in zip((3, 1, 2, 1, 0), images, strict=True)
    }
    return _write_predictions(tmp_path / "predictions.csv", found, NAMES), found


def test_what_was_written_comes_back(written):
    path, found = written
    read = read_predictions(path, found, 2)
    assert read.keys() == found.keys()
    for name, one in found.items():
        assert np.array_equal(read[name].xyxy, one.xyxy)
        assert np.array_equal(read[name].score, one.score)
        assert np.array_equal(read[name].cls, one.cls)


@pytest.mark.parametrize(
    ("column", "value"),
    [("image", "stranger.jpg"), ("class_id", 2), ("class_id", -1), ("score", "nan"), ("x1", "inf"), ("x1", "a")],
)
def test_what_cannot_be_right_is_refused(written, column, value):
    path, found = written
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[0, column] = str(value)
    table.to_csv(path, index=False)
    with pytest.raises(DatasetError, match=r"predictions\.csv"):
        read_predictions(path, found, 2)


def test_a_table_that_is_missing_or_another(tmp_path, written):
    path, found = written
    with pytest.raises(DatasetError):
        read_predictions(tmp_path / "none.csv", found, 2)
    path.write_text("image,score\n")
    with pytest.raises(DatasetError):
        read_predictions(path, found, 2)
