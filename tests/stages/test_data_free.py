"""A student that sees no labelled image."""

import json

import pytest
import tiny
from builders import tree_state, write_image

from kdyolo import api
from kdyolo.cli import options
from kdyolo.config import load_config
from kdyolo.errors import ConfigError

pytestmark = pytest.mark.slow


def test_from_a_folder_that_shows_something_else(labelled, tmp_path):
    run, pool = tiny.copy_run(labelled, tmp_path / "run"), tmp_path / "pool"
    for number in range(6):
        write_image(pool / f"{number}.png", seed=900 + number, size=(96, 96))
    before = tree_state(pool)
    settings = {"pseudo.images": str(pool), "pseudo.conf": 1e-4, "student.labels": "pool"}
    api.pseudo_label(run.root, settings=settings, resume=True)
    student = api.train_student(run.root)
    control = api.train_student(run.root, baseline=True)
    assert student.facts["images"] == control.facts["images"] == 6
    assert student.facts["labels"] == "pool"
    assert student.facts["optimizer_steps"] == control.facts["optimizer_steps"]
    assert {p.name[:5] for p in (run.stage("student") / "data" / "images" / "train").iterdir()} == {"pool-"}
    assert tree_state(pool) == before


def test_from_images_made_of_the_teacher(labelled, tmp_path):
    run = tiny.copy_run(labelled, tmp_path / "run")
    settings = {"pseudo.synthetic": 4, "pseudo.synthetic_imgsz": 64, "pseudo.synthetic_steps": 3, "pseudo.conf": 1e-4}
    record = api.pseudo_label(run.root, settings={**settings, "student.labels": "pool"}, resume=True)
    assert record.facts["pool"]["images"] == 4
    made = sorted((run.stage("pseudo") / "synthetic").glob("*.png"))
    assert len(made) == 4
    student = api.train_student(run.root)
    assert student.facts["images"] == record.facts["pool"]["used"] > 0


def test_without_any_image_it_says_where_to_get_some(labelled, tmp_path):
    run = tiny.copy_run(labelled, tmp_path / "run")
    with pytest.raises(ConfigError, match="there are none") as caught:
        api.train_student(run.root, settings={"student.labels": "pool"})
    assert "--pool DIR" in caught.value.hint


def test_one_flag_for_both(tmp_path):
    assert options.data_free(False, None) == {}
    assert options.data_free(True, tmp_path) == {"student.labels": "pool"}
    assert load_config(overrides=options.data_free(True, None)).pseudo.synthetic == 256
    with pytest.raises(ConfigError, match="exclude each other"):
        load_config(overrides={"pseudo.synthetic": 3, "pseudo.images": str(tmp_path)})
    json.dumps(options.data_free(True, None))
