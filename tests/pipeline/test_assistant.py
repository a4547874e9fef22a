"""A model between teacher and student: two chains in one command."""

import json

import fake_chain
import pytest

from kdyolo.config import load_config
from kdyolo.errors import ConfigError, Interrupted, StageError
from kdyolo.pipeline import execute, plan_with_assistant, resolve
from kdyolo.pipeline.assistant import taught_by_it
from kdyolo.storage import RunDir, write_json


def start(run, source, notes=None, assistant="m", **arguments):
    config = resolve(run, overrides={"data.source": source, "distill.assistant": assistant})
    return execute(run, config, fake_chain.CHAIN, notes, **arguments)


def test_the_assistant_is_made_first_and_becomes_the_teacher(run, source):
    outcome = start(run, source)
    made = [f"assistant/{stage}" for stage in ("split", "teacher", "pseudo", "student")]
    assert outcome.ran == made + [stage.name for stage in fake_chain.CHAIN]
    helper = RunDir(run.root / "assistant")
    assert helper.record("student").settings["student"]["model"] == "yolov5m"
    assert helper.record("teacher").settings["teacher"]["checkpoint"] is None
    assert helper.record("baseline") is None
    assert not (helper.root / "report").exists()
    taught = run.record("teacher").settings["teacher"]
    assert taught["checkpoint"] == str(helper.stage("student") / "best.pt")
    assert run.record("student").settings["student"]["model"] == "yolov5n"


def test_the_run_keeps_what_the_user_asked_for_and_goes_on(run, source):
    start(run, source)
    kept = load_config(run.config)
    assert (kept.distill.assistant, kept.teacher.checkpoint, kept.teacher.model) == ("yolov5m", None, "yolov5x")
    again = execute(run, resolve(run), fake_chain.CHAIN)
    assert again.ran == []
    assert len(again.skipped) == 4 + len(fake_chain.CHAIN)


def test_a_later_stage_alone_does_not_make_it_again(run, source):
    start(run, source)
    outcome = execute(run, resolve(run), fake_chain.CHAIN, only="student", force=True)
    assert outcome.ran == ["student"]


def test_what_failed_while_it_was_made_goes_on_from_the_run_itself(run, source, monkeypatch):
    monkeypatch.setenv("FAKE_PSEUDO", "fail")
    with pytest.raises(StageError):
        start(run, source)
    assert run.config.is_file()
    assert run.record("teacher") is None
    monkeypatch.delenv("FAKE_PSEUDO")
    outcome = execute(run, resolve(run), fake_chain.CHAIN)
    assert outcome.ran[:2] == ["assistant/pseudo", "assistant/student"]
    assert outcome.ran[-1] == "compare"


def test_a_stop_says_how_to_go_on_with_the_run_and_not_with_the_assistant(run, source, monkeypatch):
    monkeypatch.setenv("FAKE_TEACHER", "interrupt")
    with pytest.raises(Interrupted) as caught:
        start(run, source)
    assert f"kdyolo run --run {run.shown}`" in caught.value.hint


def test_force_moves_both_aside(run, source):
    start(run, source)
    outcome = start(run, source, force=True)
    assert len(outcome.ran) == 4 + len(fake_chain.CHAIN)
    (old,) = [p for p in run.root.parent.iterdir() if p != run.root and (p / "assistant").exists()]
    assert (old / "assistant" / "student").is_dir()


@pytest.mark.parametrize(
    ("assistant", "told"), [("n", "choose one of yolov5s"), ("x", "choose one of yolov5s"), ("q", "unknown model")]
)
def test_it_stands_between_the_two(run, source, assistant, told):
    with pytest.raises(ConfigError, match=told):
        start(run, source, assistant=assistant)


def test_every_budget_has_its_own(run, source, monkeypatch):
    import sys
    import types

    module = types.ModuleType("kdyolo.report.budgets")
    module.build, module.is_current = (lambda run, runs: None), (lambda run, runs: False)
    monkeypatch.setitem(sys.modules, "kdyolo.report.budgets", module)
    config = resolve(run, overrides={"data.source": source, "distill.assistant": "s", "label_budgets": [0.5, 1.0]})
    execute(run, config, fake_chain.CHAIN)
    for share in ("0.5", "1"):
        record = json.loads((run.root / "budgets" / share / "assistant" / "student" / "stage.json").read_text())
        assert record["status"] == "done"


def actions(planned):
    return [(one.root.name, {step.stage: step.action for step in steps}) for one, steps in planned]


def test_a_plan_names_both_chains_and_touches_nothing(run, source):
    config = resolve(run, overrides={"data.source": source, "distill.assistant": "m"})
    (helper, before), (own, after) = actions(plan_with_assistant(run, config, fake_chain.CHAIN))
    assert not run.root.exists()
    assert (helper, list(before)) == ("assistant", ["split", "teacher", "pseudo", "student"])
    assert (own, list(after)) == (run.root.name, [stage.name for stage in fake_chain.CHAIN])
    assert {*before.values(), *after.values()} == {"run"}
    start(run, source)
    assert all(
        set(steps.values()) == {"skip"}
        for _, steps in actions(plan_with_assistant(run, resolve(run), fake_chain.CHAIN))
    )


def test_a_plan_for_another_assistant_redoes_all_that_follows_the_split(run, source):
    start(run, source)
    config = resolve(run, overrides={"distill.assistant": "s"})
    (_, before), (_, after) = actions(plan_with_assistant(run, config, fake_chain.CHAIN))
    assert before == {"split": "skip", "teacher": "skip", "pseudo": "skip", "student": "redo"}
    assert after.pop("split") == "skip"
    assert set(after.values()) == {"redo"}
    assert actions(plan_with_assistant(run, config, fake_chain.CHAIN, only="teacher"))[1][1] == {"teacher": "redo"}


@pytest.mark.parametrize(
    ("labels", "known", "expected"),
    [
        ("pseudo", {0: 0, 1: 2}, {"a": "a", "c": "c"}),
        ("pool", {0: 0, 1: 2}, {"a": "a", "c": "c"}),
        ("pseudo", {0: 0, 1: 1, 2: 2}, None),
        ("gt+pool", {0: 0, 1: 2}, None),
    ],
)
def test_it_knows_what_it_was_taught(run, source, tmp_path, labels, known, expected):
    start(run, source)
    helper = RunDir(run.root / "assistant")
    split = helper.record("split")
    split.facts["classes"] = ["a", "b", "c"]
    helper.write_record(split)
    (helper.stage("teacher") / "best.pt").write_bytes(b"")
    write_json(helper.stage("teacher") / "classes.json", {str(theirs): ours for theirs, ours in known.items()})
    several = {"teacher.checkpoint": tmp_path / "a.pt", "teacher.more": [str(tmp_path / "b.pt")]}
    config = resolve(run, overrides={"student.labels": labels, **several})
    teacher = taught_by_it(run, config).teacher
    assert teacher.map_classes == expected
    assert (teacher.checkpoint, teacher.more) == (helper.stage("student") / "best.pt", ())
