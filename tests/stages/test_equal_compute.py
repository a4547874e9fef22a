"""The control with all the computation that the distilled student took."""

import json

import pytest
import tiny

from kdyolo import api
from kdyolo.errors import ConfigError

pytestmark = pytest.mark.slow


def test_the_longer_control_is_trained_and_compared_and_nothing_else_again(finished, tmp_path):
    run = tiny.copy_run(finished, tmp_path / "run")
    before = {name: run.require(name).ended for name in ("teacher", "student", "baseline")}
    api.run(run=run.root, settings={"equal_compute": True}, resume=True)
    assert {name: run.require(name).ended for name in before} == before
    longer, student = run.require("longer").facts, run.require("student").facts
    assert longer["initial_sha256"] == student["initial_sha256"]
    assert longer["relative_compute"] > 1
    assert longer["epochs"] == round(longer["relative_compute"] * student["epochs"])
    results = json.loads((run.stage("compare") / "results.json").read_text())
    assert results["arms"]["longer"]["epochs"] == longer["epochs"]
    pair = next(pair for pair in results["uncertainty"]["pairs"] if (pair["a"], pair["b"]) == ("student", "longer"))
    gap = results["arms"]["student"]["mAP50_95"] - results["arms"]["longer"]["mAP50_95"]
    assert pair["difference"]["mAP50_95"]["estimate"] == pytest.approx(gap, abs=1e-9)
    assert [state["stage"] for state in api.status(run.root)["stages"]][-2:] == ["longer", "compare"]
    page = (run.root / "report" / "report.html").read_text()
    assert "Longer control" in page


def test_taking_it_back_leaves_the_three_arms(finished, tmp_path):
    run = tiny.copy_run(finished, tmp_path / "run")
    compared = run.require("compare").ended
    api.run(run=run.root, settings={"equal_compute": False})
    assert run.require("compare").ended == compared


def test_comparing_alone_says_how_to_train_the_longer_control_first(finished, tmp_path):
    run = tiny.copy_run(finished, tmp_path / "run")
    with pytest.raises(ConfigError, match="needs the stage 'longer'") as caught:
        api.compare(run.root, settings={"equal_compute": True})
    assert caught.value.hint == f"`kdyolo run --equal-compute --resume --run {run.shown}` first."
