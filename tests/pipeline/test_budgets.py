"""A run with label budgets is one chain for each, in one directory, with one report over them."""

import json
import sys
import types

import fake_chain
import pytest

from kdyolo.config import load_config
from kdyolo.errors import ConfigError, StageError
from kdyolo.pipeline import execute, parts, resolve
from kdyolo.pipeline.status import describe
from kdyolo.storage import write_json, write_text


@pytest.fixture
def built(monkeypatch):
    """Stands for `kdyolo.report.budgets`; a list of the runs each report was built from."""
    calls = []
    module = types.ModuleType("kdyolo.report.budgets")

    def build(run, runs):
        calls.append([one.root.name for one in runs])
        write_json(run.root / "report" / "summary.json", {"of": calls[-1]})
        write_text(run.root / "report" / "report.html", "<html></html>")

    def is_current(run, runs):
        file = run.root / "report" / "summary.json"
        return file.is_file() and json.loads(file.read_text())["of"] == [one.root.name for one in runs]

    module.build, module.is_current = build, is_current
    monkeypatch.setitem(sys.modules, "kdyolo.report.budgets", module)
    return calls


def start(run, source, shares=(0.5, 0.125, 1.0), **arguments):
    config = resolve(run, overrides={"data.source": source, "label_budgets": list(shares)})
    return execute(run, config, fake_chain.CHAIN, **arguments)


def test_each_budget_is_a_whole_run_smallest_first(run, source, built):
    outcome = start(run, source)
    assert built == [["0.125", "0.5", "1"]]
    assert outcome.ran[:2] == ["0.125/split", "0.125/teacher"]
    assert len(outcome.ran) == 3 * len(fake_chain.CHAIN)
    for share in ("0.125", "0.5", "1"):
        child = load_config(run.root / "budgets" / share / "config.yaml")
        assert child.split.labels_fraction == float(share)
        assert child.label_budgets == ()


def test_the_same_again_does_nothing(run, source, built):
    start(run, source)
    fake_chain.calls(run)
    outcome = execute(run, resolve(run), fake_chain.CHAIN)
    assert outcome.ran == []
    assert not outcome.report
    assert fake_chain.calls(run) == []


def test_a_new_budget_leaves_the_others_alone(run, source, built):
    start(run, source, (0.5, 1.0))
    outcome = start(run, source, (0.25, 0.5, 1.0))
    assert {name.split("/")[0] for name in outcome.ran} == {"0.25"}
    assert built[-1] == ["0.25", "0.5", "1"]


def test_a_failed_budget_is_gone_on_with(run, source, built, monkeypatch):
    monkeypatch.setenv("FAKE_STUDENT", "fail")
    with pytest.raises(StageError):
        start(run, source)
    assert built == []
    state = describe(run, fake_chain.CHAIN)
    assert [part["run"].rsplit("/", 1)[-1] for part in state["budgets"]] == ["0.125"]
    assert state["next"]
    monkeypatch.delenv("FAKE_STUDENT")
    assert "0.125/teacher" in start(run, source).skipped
    assert describe(run, fake_chain.CHAIN)["next"] is None


def test_a_single_stage_has_no_place_in_it(run, source, built):
    start(run, source)
    with pytest.raises(ConfigError, match=r"no single 'teacher'") as caught:
        execute(run, resolve(run), fake_chain.CHAIN, only="teacher")
    assert "budgets/0.125" in caught.value.hint


def test_budgets_do_not_cover_a_single_run_nor_it_them(run, source, built):
    execute(run, resolve(run, overrides={"data.source": source}), fake_chain.CHAIN)
    with pytest.raises(ConfigError, match="already holds a single run"):
        start(run, source)
    with_budgets = type(run)(run.root.with_name("second"))
    start(with_budgets, source)
    with pytest.raises(ConfigError, match="one chain for each label budget"):
        execute(with_budgets, resolve(with_budgets, overrides={"label_budgets": []}), fake_chain.CHAIN)


def test_force_moves_the_whole_run_aside(run, source, built, notes):
    start(run, source, (0.5,))
    outcome = start(run, source, (0.5,), force=True, progress=notes)
    assert len(outcome.ran) == len(fake_chain.CHAIN)
    assert any("old run is now" in message for message in notes.messages)


def test_a_share_given_twice_is_run_once(run, source):
    config = resolve(run, overrides={"data.source": source, "label_budgets": [0.5, 0.5, 0.25]})
    assert [child.root.name for child, _ in parts(run, config)] == ["0.25", "0.5"]


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_a_share_outside_of_0_to_1_is_refused(run, source, share):
    with pytest.raises(ConfigError, match="label_budgets"):
        resolve(run, overrides={"data.source": source, "label_budgets": [share]})


def test_budgets_and_one_share_exclude_each_other(run, source):
    with pytest.raises(ConfigError, match="exclude each other"):
        resolve(run, overrides={"data.source": source, "label_budgets": [0.5], "split.labels_fraction": 0.5})
