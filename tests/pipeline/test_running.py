"""What `execute` does to a run directory, in one process."""

import dataclasses
import datetime
import json
import os
import shlex

import fake_chain
import pytest
from fake_chain import CHAIN, calls

from kdyolo.config import Config, load_config
from kdyolo.errors import ConfigError, DatasetError, EnvironmentFault, Interrupted, RunExistsError, StageError
from kdyolo.pipeline import execute, plan, resolve
from kdyolo.pipeline.status import describe
from kdyolo.storage import RunDir
from kdyolo.yamlio import load_mapping

ALL = [stage.name for stage in CHAIN]


@pytest.fixture
def go(run, source, notes):
    def execute_with(only=None, resume=False, force=False, **values):
        overrides = {"data.source": source, **{key.replace("__", "."): value for key, value in values.items()}}
        return execute(run, resolve(run, overrides=overrides), CHAIN, notes, only=only, resume=resume, force=force)

    return execute_with


def mtimes(run):
    return {p: p.stat().st_mtime_ns for p in run.root.rglob("*") if p.is_file()}


def test_a_first_run_does_everything_and_leaves_exactly_these_files(run, go):
    outcome = go()
    assert outcome.ran == calls(run) == ALL
    files = {p.relative_to(run.root).as_posix() for p in run.root.rglob("*") if p.is_file()}
    stage_files = {f"{name}/{file}" for name in ALL for file in ("stage.json", "out.json", "started")}
    others = {"config.yaml", "manifest.json", ".lock", "report/summary.json", "report/report.html"}
    assert files == stage_files | others
    assert [run.record(name).sequence for name in ALL] == [1, 2, 3, 4, 5, 6]


def test_config_and_manifest_say_what_the_run_was_made_with(run, go, source):
    go(seed=7)
    assert load_config(run.config) == load_config(overrides={"seed": 7, "data.source": source})
    assert set(load_mapping(run.config)) == {
        *(
            "seed",
            "label_budgets",
            "more_seeds",
            "equal_compute",
            "data",
            "audit",
            "split",
            "teacher",
            "pseudo",
            "student",
            "distill",
            "compare",
            "report",
            "runtime",
        )
    }
    manifest = json.loads(run.manifest.read_text())
    assert manifest["seed"] == 7
    assert manifest["dataset_sha256"] == "abc"
    assert {"kdyolo", "packages", "python", "platform", "cpu", "git_commit"} <= set(manifest)
    assert {name: stage["status"] for name, stage in manifest["stages"].items()} == dict.fromkeys(ALL, "done")
    assert manifest["stages"]["teacher"]["key"] == run.record("teacher").key


def test_a_finished_run_is_not_touched(run, go, notes):
    go()
    calls(run)
    before, folder = mtimes(run), run.root.stat().st_mtime_ns
    outcome = go()
    assert (outcome.ran, outcome.skipped, calls(run)) == ([], ALL, [])
    assert mtimes(run) == before
    assert run.root.stat().st_mtime_ns == folder
    assert "Nothing to do" in notes.messages[-1]


def test_settings_that_no_stage_names_redo_nothing(run, go):
    go()
    assert go(runtime__workers=1).ran == []


def test_another_seed_keeps_the_split(run, go):
    go()
    assert go(seed=1, resume=True).ran == ALL[1:]


@pytest.mark.parametrize("how", ["fail", "crash", "interrupt", "exit"])
def test_a_stage_that_broke_off_goes_on_in_its_folder(run, go, monkeypatch, how):
    monkeypatch.setenv("FAKE_PSEUDO", how)
    expected = {"interrupt": Interrupted, "exit": SystemExit}.get(how, StageError)
    with pytest.raises(expected):
        go()
    record = run.record("pseudo")
    assert record.status == ("interrupted" if how in ("interrupt", "exit") else "failed")
    assert record.error
    assert calls(run) == ["split", "teacher", "pseudo"]
    monkeypatch.delenv("FAKE_PSEUDO")
    assert go().ran == ["pseudo", "student", "baseline", "compare"]
    assert run.record("pseudo").facts["resumed"] is True
    assert run.record("student").facts["resumed"] is False
    assert not (run.root / "old").exists()


def test_an_unforeseen_error_names_the_log_which_has_the_traceback(run, go, monkeypatch):
    monkeypatch.setenv("FAKE_TEACHER", "crash")
    with pytest.raises(StageError) as caught:
        go()
    assert str(run.log) in caught.value.hint
    assert "ValueError: bad [value]" in run.log.read_text()


def test_an_interrupt_names_the_command_that_goes_on(run, go, monkeypatch):
    monkeypatch.setenv("FAKE_SPLIT", "interrupt")
    monkeypatch.chdir(run.root.parent.parent)
    with pytest.raises(Interrupted) as caught:
        go()
    assert "`kdyolo run --run runs/first`" in caught.value.hint
    with pytest.raises(Interrupted) as caught:
        go(only="split")
    assert "`kdyolo split --run runs/first`" in caught.value.hint


def test_seconds_add_up_over_attempts(run, go, monkeypatch):
    monkeypatch.setenv("FAKE_SPLIT", "fail")
    with pytest.raises(StageError):
        go()
    record = run.record("split").model_copy(update={"seconds": 100.0})
    run.write_record(record)
    monkeypatch.delenv("FAKE_SPLIT")
    go()
    assert run.record("split").seconds >= 100


def test_a_changed_setting_is_named_and_redone_only_on_request(run, go, notes):
    go()
    calls(run)
    before = mtimes(run)
    with pytest.raises(RunExistsError) as caught:
        go(student__epochs=3)
    assert "setting student.epochs: 10 -> 3" in caught.value.message
    assert "--resume" in caught.value.hint
    assert "--force" in caught.value.hint
    assert mtimes(run) == before | {run.root / ".lock": (run.root / ".lock").stat().st_mtime_ns}
    assert go(student__epochs=3, resume=True).ran == calls(run) == ["student", "baseline", "compare"]
    assert sorted(p.name for p in (run.root / "old").iterdir()) == ["baseline-1", "compare-1", "student-1"]
    assert run.record("student").facts["resumed"] is False
    assert run.record("student").sequence == 7


def test_a_stage_that_comes_out_as_it_was_stops_the_wave(run, go):
    go()
    (run.stage("teacher") / "out.json").write_text("{}")
    calls(run)
    assert go().ran == calls(run) == ["teacher"]


def test_changed_data_and_packages_are_named(run, go, source, monkeypatch):
    go()
    (source / "data.txt").write_text("other images")
    monkeypatch.setattr("kdyolo.pipeline.keys.package_version", lambda name: "9.9")
    with pytest.raises(RunExistsError) as caught:
        go()
    assert "the files of 'source' changed" in caught.value.message
    assert "package numpy: " in caught.value.message
    assert "-> 9.9" in caught.value.message


@pytest.mark.parametrize("damage", ["edited", "missing", "record", "record cut"])
def test_damage_by_hand_is_named_and_redone(run, go, notes, damage):
    go()
    calls(run)
    target = run.stage("baseline") / ("stage.json" if "record" in damage else "out.json")
    if damage in ("missing", "record"):
        target.unlink()
    else:
        target.write_bytes(target.read_bytes()[:-10])
    assert go().ran == calls(run) == ["baseline"]
    told = " ".join(notes.messages)
    assert ("baseline/out.json" in told) or ("stage.json is missing or cannot be read" in told)
    assert (run.root / "old" / "baseline-1").is_dir()


def test_unfinished_and_changed_work_is_moved_aside_without_asking(run, go, monkeypatch, notes):
    monkeypatch.setenv("FAKE_STUDENT", "fail")
    with pytest.raises(StageError):
        go()
    monkeypatch.delenv("FAKE_STUDENT")
    go(student__epochs=4)
    assert run.record("student").facts["resumed"] is False
    assert any("was not finished, and setting student.epochs: 10 -> 4" in message for message in notes.messages)


def test_a_training_that_has_begun_is_not_discarded_unasked(run, go, monkeypatch, notes):
    monkeypatch.setenv("FAKE_TEACHER", "interrupt")
    with pytest.raises(Interrupted):
        go()
    monkeypatch.delenv("FAKE_TEACHER")
    last = run.stage("teacher") / "training" / "weights" / "last.pt"
    last.parent.mkdir(parents=True)
    last.touch()
    for only in (None, "teacher"):
        with pytest.raises(RunExistsError, match=r"setting teacher\.epochs: 10 -> 4") as caught:
            go(only=only, teacher__epochs=4)
        assert "--resume" in caught.value.hint
        assert last.exists()
    assert go(teacher__epochs=4, resume=True).ran == ALL[1:]
    assert (run.root / "old" / "teacher-1" / "training" / "weights" / "last.pt").exists()


def test_force_for_the_whole_run_does_not_let_a_weak_teacher_label(run, go):
    go(force=True)
    assert run.record("pseudo").facts["forced"] is False


def test_force_moves_the_whole_run_aside(run, go):
    go()
    first = run.record("split").model_dump()
    assert go(force=True, seed=1).ran == ALL
    aside = run.root.with_name("first-1")
    assert json.loads((aside / "split" / "stage.json").read_text()) == first
    assert not (aside / "lock.json").exists()
    assert run.record("teacher").settings["seed"] == 1


def test_force_for_one_stage_moves_that_stage_aside(run, go):
    go()
    calls(run)
    assert go(only="pseudo", force=True).ran == calls(run) == ["pseudo"]
    assert run.record("pseudo").facts["forced"] is True
    assert (run.root / "old" / "pseudo-1").is_dir()
    assert not run.root.with_name("first-1").exists()


def test_force_with_a_missing_data_set_moves_nothing(run, go, source):
    go()
    (source / "data.txt").unlink()
    with pytest.raises(DatasetError):
        go(force=True)
    assert not run.root.with_name("first-1").exists()


def test_a_missing_data_set_makes_no_run_directory(run, go, source):
    (source / "data.txt").unlink()
    with pytest.raises(DatasetError):
        go()
    assert not run.root.exists()


def test_a_finished_run_does_without_its_data_set(run, go, source, notes):
    go()
    calls(run)
    before = mtimes(run)
    (source / "data.txt").unlink()
    assert go().ran == calls(run) == []
    assert any("is not there" in message for message in notes.messages)
    assert mtimes(run) == before
    (step, *_) = plan(run, resolve(run), CHAIN)
    assert (step.action, "is not there" in step.reason) == ("skip", True)
    assert go(student__epochs=3, resume=True).ran == ["student", "baseline", "compare"]


def test_an_unfinished_run_goes_on_without_the_data_set_it_has_split(run, go, source, monkeypatch):
    monkeypatch.setenv("FAKE_TEACHER", "interrupt")
    with pytest.raises(Interrupted):
        go()
    monkeypatch.delenv("FAKE_TEACHER")
    (source / "data.txt").unlink()
    assert go().ran == ALL[1:]


@pytest.mark.parametrize("why", ["settings", "damage", "force", "another folder"])
def test_a_missing_data_set_is_told_before_the_old_split_is_moved(run, go, source, why):
    go()
    (source / "data.txt").unlink()
    if why == "damage":
        (run.stage("split") / "out.json").unlink()
    values = {
        "settings": {"split__seed": 5, "resume": True},
        "force": {"only": "split", "force": True},
        "another folder": {"data__source": source.with_name("other")},
    }
    with pytest.raises(DatasetError, match="is not there"):
        go(**values.get(why, {}))
    assert not (run.root / "old").exists()


def test_one_stage_needs_the_ones_before_it(run, go):
    with pytest.raises(ConfigError, match="needs the stage 'split'"):
        go(only="teacher")
    go(only="split")
    assert go(only="teacher").ran == ["teacher"]
    with pytest.raises(RunExistsError, match=r"setting split.keep_splits: false -> true"):
        go(only="teacher", split__keep_splits=True)
    assert load_mapping(run.config)["split"]["keep_splits"] is False


def test_one_stage_keeps_what_is_done(run, go):
    go(only="split")
    before = mtimes(run)
    assert go(only="split").skipped == ["split"]
    assert mtimes(run) == before
    with pytest.raises(RunExistsError):
        go(only="split", split__seed=5)
    assert go(only="split", split__seed=5, resume=True).ran == ["split"]


def test_an_unknown_stage_is_refused(run, go):
    with pytest.raises(ConfigError, match="no stage 'audit'"):
        go(only="audit")


@pytest.mark.parametrize("damage", ["missing", "edited", "manifest"])
def test_the_report_is_built_again_when_it_is_stale(run, go, damage):
    go()
    calls(run)
    page = run.root / "report" / "report.html"
    if damage == "missing":
        page.unlink()
    elif damage == "edited":
        page.write_text("nicer figures")
    else:
        run.manifest.write_text("{")
    outcome = go()
    assert (outcome.report, outcome.ran, calls(run)) == (True, [], [])
    assert page.read_text() == "<html></html>"
    assert go().report is False


def test_another_language_builds_the_report_again_and_nothing_else(run, go):
    go()
    calls(run)
    page = run.root / "report" / "report.html"
    for values in ({"report__lang": "pt"}, {}):  # the second asks for nothing: the run keeps its language
        outcome = go(**values)
        assert (outcome.report, outcome.ran, calls(run)) == (bool(values), [], [])
        assert page.read_text() == "<html lang=pt></html>"
    assert go(report__lang="en").report is True
    assert page.read_text() == "<html></html>"


def test_a_report_of_before_there_were_languages_is_english(run, go):
    go()
    manifest = json.loads(run.manifest.read_text())
    assert manifest["report"].pop("lang") == "en"
    run.manifest.write_text(json.dumps(manifest))
    assert go().report is False
    assert go(report__lang="pt").report is True


def test_a_report_that_fails_is_tried_again(run, go, monkeypatch):
    monkeypatch.setenv("FAKE_REPORT", "crash")
    with pytest.raises(StageError, match="no plot"):
        go()
    monkeypatch.delenv("FAKE_REPORT")
    assert go().report is True
    assert calls(run) == ALL


def test_half_written_files_of_dead_processes_go_and_others_stay(run, go):
    go(only="split")
    weights = run.stage("teacher") / "training" / "weights"
    weights.mkdir(parents=True)
    ours = [run.stage("split") / ".out.json.123.tmp", weights / ".last.pt.tmp"]
    theirs = run.stage("split") / "notes.tmp"
    for file in (*ours, theirs):
        file.touch()
    go()
    assert not any(file.exists() for file in ours)
    assert theirs.exists()


def test_a_full_disk_is_an_environment_fault_even_when_a_library_hides_it(run, go, monkeypatch):
    def full(how, folder):
        try:
            raise OSError(28, "No space left on device", str(folder / "x"))
        except OSError as error:
            raise RuntimeError("writer failed") from error

    monkeypatch.setattr(fake_chain, "_misbehave", full)
    with pytest.raises(EnvironmentFault, match="No room to write"):
        go()
    assert run.record("split").status == "failed"


def test_a_run_directory_that_is_a_file(run, go):
    run.root.parent.mkdir()
    run.root.write_text("mine")
    for force in (False, True):
        with pytest.raises(EnvironmentFault, match="is a file"):
            go(force=force)
    assert run.root.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(run, go):
    run.root.parent.mkdir()
    run.root.parent.chmod(0o500)
    with pytest.raises(EnvironmentFault, match="Cannot write"):
        go()


def test_a_lock_from_another_host_is_respected(run, go):
    run.create()
    (run.root / "lock.json").write_text(json.dumps({"pid": 1, "host": "elsewhere", "command": "kdyolo run"}))
    assert run.holder()["host"] == "elsewhere"
    with pytest.raises(RunExistsError, match="elsewhere") as caught:
        go()
    assert "lock.json" in caught.value.hint


def test_the_lock_of_a_dead_process_is_taken_over_with_a_warning(run, go, notes):
    import socket

    run.create()
    owner = {"pid": 2**22 + 1, "host": socket.gethostname(), "command": "kdyolo run"}
    (run.root / "lock.json").write_text(json.dumps(owner))
    assert run.holder() is None
    go()
    assert "ended without cleaning up" in notes.warnings[0]
    assert run.holder() is None


def test_no_bar_stays_open(run, go, notes, monkeypatch):
    go(only="split")
    assert notes.open == 0
    monkeypatch.setenv("FAKE_TEACHER", "crash")
    with pytest.raises(StageError):
        go()
    assert notes.open == 0


def test_plan_of_a_first_run_writes_nothing(run, source):
    steps = plan(run, resolve(run, overrides={"data.source": source}), CHAIN)
    assert [(step.stage, step.action) for step in steps] == [(name, "run") for name in ALL]
    assert not run.root.parent.exists()


def test_plan_of_a_changed_run(run, go, source):
    go()
    before = mtimes(run)
    steps = plan(run, resolve(run, overrides={"pseudo.iou": 0.5}), CHAIN)
    assert [(step.stage, step.action) for step in steps] == [
        ("split", "skip"),
        ("teacher", "skip"),
        ("pseudo", "redo"),
        ("student", "redo"),
        ("baseline", "skip"),
        ("compare", "redo"),
    ]
    assert [step.reason for step in steps if step.action == "redo"] == [
        "setting pseudo.iou: 0.7 -> 0.5",
        "follows 'pseudo'",
        "follows 'student'",
    ]
    assert all(step.seconds is not None for step in steps)
    assert mtimes(run) == before


def test_plan_with_force_runs_everything(run, go):
    go()
    steps = plan(run, resolve(run), CHAIN, force=True)
    assert {step.action for step in steps} == {"run"}
    assert [step.action for step in plan(run, resolve(run), CHAIN, only="pseudo", force=True)] == ["redo"]


def test_settings_of_an_existing_run_are_its_base(run, go, source, tmp_path, monkeypatch):
    go(student__epochs=4)
    assert resolve(run).student.epochs == 4
    assert resolve(run, overrides={"data.source": source}, fresh=True).student.epochs == 10
    monkeypatch.chdir(tmp_path)
    assert resolve(run, overrides={"teacher.weights": "a.pt"}).teacher.weights == tmp_path / "a.pt"


def test_no_run_and_no_data_set(run):
    with pytest.raises(ConfigError, match="no data set is given"):
        resolve(run)


def test_a_run_inside_its_data_set_is_refused_before_anything_is_written(run, source):
    inside = RunDir(source / "runs" / "x")
    with pytest.raises(ConfigError, match="inside the data set"):
        resolve(inside, overrides={"data.source": source})
    assert [p.name for p in source.iterdir()] == ["data.txt"]


def test_a_run_beside_the_data_yaml_it_is_given_is_refused_too(tmp_path, make_yolo_dataset):
    folder = make_yolo_dataset(n=3)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "data.yaml").write_text("path: ../data\ntrain: images\nnames: [a, b]\n")
    inside = RunDir(folder / "runs" / "x")
    sources = {folder / "data.yaml": False, tmp_path / "elsewhere" / "data.yaml": True}
    for source, allowed in sources.items():
        with pytest.raises(ConfigError, match="inside the data set"):
            resolve(inside, overrides={"data.source": source, "data.allow_outside": allowed})


def test_a_folder_of_somebody_elses_does_not_become_a_run(tmp_path, source):
    theirs = tmp_path / "photos"
    theirs.mkdir()
    (theirs / ".DS_Store").touch()
    resolve(RunDir(theirs), overrides={"data.source": source})  # empty to any eye
    (theirs / "a.jpg").touch()
    with pytest.raises(ConfigError, match=r"is no run, and not empty: it holds a\.jpg"):
        resolve(RunDir(theirs), overrides={"data.source": source})


def test_a_data_set_inside_the_run_is_refused(tmp_path, source):
    with pytest.raises(ConfigError, match="lies inside the run"):
        resolve(RunDir(tmp_path), overrides={"data.source": source})


def test_a_run_inside_the_pool_is_refused(tmp_path, source):
    (tmp_path / "pool").mkdir()
    with pytest.raises(ConfigError, match="never writes to"):
        resolve(
            RunDir(tmp_path / "pool" / "run"), overrides={"data.source": source, "pseudo.images": tmp_path / "pool"}
        )


@pytest.mark.parametrize("given", [{"teacher.model": "m"}, {"teacher.epochs": 3}, {"teacher.augment.mosaic": 0.5}])
def test_settings_an_adopted_teacher_would_ignore_are_refused(run, go, tmp_path, given):
    go(teacher__checkpoint=tmp_path / "t.pt")
    with pytest.raises(ConfigError, match="would be ignored") as caught:
        resolve(run, overrides=given)
    assert "-S teacher.checkpoint=null" in caught.value.hint
    with pytest.raises(ConfigError, match="would be ignored"):
        resolve(run, assignments=[f"{key}={value}" for key, value in given.items()])
    resolve(run, assignments=["teacher.checkpoint=null"], overrides=given)


def test_what_an_adopted_teacher_uses_or_both_models_share_is_taken(run, go, tmp_path):
    go(teacher__checkpoint=tmp_path / "t.pt")
    resolve(run, assignments=["teacher.imgsz=320", "teacher.weights=null"])
    resolve(run, overrides={"teacher.map_classes": {"a": "b"}, "teacher.epochs": 3, "student.epochs": 3})
    resolve(run, assignments=["teacher.epochs=3", "student.epochs=4"])
    with pytest.raises(ConfigError, match=r"teacher\.model would"):
        resolve(run, overrides={"teacher.model": "m", "student.model": "s"})
    with pytest.raises(ConfigError, match=r"teacher\.map_classes would be ignored"):
        resolve(run, assignments=["teacher.checkpoint=null"], overrides={"teacher.map_classes": {"a": "b"}})


def test_a_preset_stands_for_the_defaults_of_a_new_run_only(run, source, go, tmp_path):
    preset = tmp_path / "preset.yaml"
    preset.write_text("student: {epochs: 3, batch: 2}")
    config = resolve(run, preset=preset, overrides={"data.source": source, "student.batch": 4})
    assert (config.student.epochs, config.student.batch) == (3, 4)
    go()
    assert resolve(run, preset=preset).student.epochs == 10


def test_the_manifest_proves_which_labels_were_read(run, go, monkeypatch):
    monkeypatch.setattr(fake_chain, "FACTS", {"labels_sha256": "cafe"})
    go()
    manifest = json.loads(run.manifest.read_text())
    assert manifest["stages"]["student"]["labels_sha256"] == "cafe"
    assert manifest["split_seed"] == 0


def test_facts_that_are_no_numbers_fail_the_stage(run, go, monkeypatch):
    monkeypatch.setattr(fake_chain, "FACTS", {"mAP50": float("nan")})
    with pytest.raises(StageError, match="not JSON compliant"):
        go()
    assert run.record("split").status == "failed"


def checked(error):
    """The fake chain with a student that knows in advance what it would fail of."""

    def check(run, config):
        if config.student.epochs == 666:
            raise error

    return tuple(dataclasses.replace(s, check=check) if s.name == "student" else s for s in CHAIN)


@pytest.mark.parametrize("force", [False, True])
def test_what_the_last_stage_would_fail_of_is_told_before_the_first_one_works(run, go, source, notes, force):
    go()
    calls(run)
    before = mtimes(run)
    config = resolve(run, overrides={"student.epochs": 666, "seed": 3})
    chain = checked(EnvironmentFault("No such device."))
    with pytest.raises(EnvironmentFault, match="No such device"):
        execute(run, config, chain, notes, resume=not force, force=force)
    with pytest.raises(EnvironmentFault, match="No such device"):
        plan(run, config, chain)
    assert calls(run) == []
    after = mtimes(run)
    assert [path for path in after if before.get(path) != after[path]] in ([], [run.root / ".lock"])
    assert [path.name for path in run.root.parent.iterdir() if path.name.startswith("first")] == ["first"]


def counting(refused):
    """The fake chain with a student that refuses a split of so many images, once it knows."""

    def check(run, config):
        split = run.record("split")
        if split is not None and split.facts["images"] == refused:
            raise ConfigError("Too few.", "Add some.")

    sections = {"sections": ("student",)}
    return tuple(dataclasses.replace(s, check=check, **sections) if s.name == "student" else s for s in CHAIN)


def test_what_only_the_split_tells_is_told_before_the_next_stage_works(run, source, notes):
    config = resolve(run, overrides={"data.source": source, "student.epochs": 3})
    with pytest.raises(ConfigError, match="Too few") as caught:
        execute(run, config, counting(refused=3), notes)
    assert calls(run) == ["split"]
    assert "-S student.epochs=10" in caught.value.hint


@pytest.mark.parametrize("force", [False, True])
def test_what_a_split_said_that_is_made_anew_refuses_nothing(run, go, notes, force, monkeypatch):
    go()
    monkeypatch.setitem(fake_chain.FACTS, "images", 9)
    chain, config = counting(refused=3), resolve(run, overrides={"split.seed": 1})
    assert execute(run, config, chain, notes, resume=not force, force=force).ran == ALL


def test_a_finished_stage_is_not_asked_again(run, go, source, notes):
    go(student__epochs=666)
    config = resolve(run)
    assert execute(run, config, checked(EnvironmentFault("No such device.")), notes).ran == []


def test_a_wrong_choice_comes_with_the_words_that_take_it_back(run, go, source, notes):
    def refuse(context):
        raise DatasetError("The splits leak.", "Repair them.")

    chain = tuple(
        dataclasses.replace(s, work=refuse, sections=("data", "split")) if s.name == "split" else s for s in CHAIN
    )
    wrong = {"data.source": source, "split.keep_splits": True, "split.group_by": "(a)", "student.epochs": 3}
    with pytest.raises(DatasetError) as caught:
        execute(run, resolve(run, overrides=wrong), chain, notes)
    head, _, undo = caught.value.hint.partition("to take it back: ")
    assert head.startswith("Repair them. ")
    words = shlex.split(undo)
    assert words[::2] == ["-S", "-S"]
    again = resolve(run, assignments=words[1::2])
    assert (again.split, again.student.epochs, again.data.source) == (Config().split, 3, source)
    with pytest.raises(DatasetError) as caught:
        execute(run, resolve(run), chain, notes)
    assert caught.value.hint == "Repair them."


def test_a_run_without_its_settings_says_so(run, go, source):
    go()
    run.config.unlink()
    with pytest.raises(ConfigError, match=r"has lost its config\.yaml"):
        resolve(run)
    with pytest.raises(ConfigError, match=r"has lost its config\.yaml"):
        describe(run, CHAIN)
    assert go().ran == []


def test_status_sees_what_was_changed_by_hand_and_does_not_take_copies_for_news(run, go):
    go()
    ended = run.record("split").ended
    os.utime(run.stage("split") / "stage.json", (0, 0))
    with (run.stage("student") / "out.json").open("a") as file:
        file.write(" ")
    states = {state["stage"]: state for state in describe(run, CHAIN)["stages"]}
    assert [name for name, state in states.items() if state["status"] == "damaged"] == ["student"]
    assert "student/out.json" in states["student"]["error"]
    assert states["split"]["when"] == ended
    assert datetime.datetime.fromisoformat(ended).tzinfo is not None
