"""Several runs side by side: who is ranked against whom, what is claimed, and what is written where."""

import csv
import json
import shutil
import statistics

import pytest
from compared import make_compared, write_record
from html_page import NASTY, Page

from kdyolo.errors import DatasetError, RunExistsError
from kdyolo.pipeline.order import chain
from kdyolo.report import leaderboard
from kdyolo.report.leaderboard_page import COLUMNS
from kdyolo.storage import RunDir

FILES = {"leaderboard.html", "leaderboard.md", "leaderboard.csv", "leaderboard.json"}


class Heard:
    def __init__(self):
        self.warnings = []

    def warn(self, message):
        self.warnings.append(message)

    def __getattr__(self, name):
        return lambda *arguments, **named: None


@pytest.fixture
def board(tmp_path):
    """Builds a leaderboard of run directories into ``out``."""

    def build(*runs, out=tmp_path / "out", **options):
        paths = [run.root if isinstance(run, RunDir) else run for run in runs]
        return leaderboard.build(paths, out, chain, Heard(), **options)

    return build


@pytest.fixture
def three(tmp_path):
    """A good, a slightly worse and a bad student on the same test split."""
    return [
        make_compared(tmp_path / "good", 2.0),
        make_compared(tmp_path / "close", 2.1, seed=1, **{"distill.scheme": "labels"}),
        make_compared(tmp_path / "bad", 9.0, **{"split.labels_fraction": 0.125}),
    ]


def change_results(run, change):
    """Change results.json of a run as if it had been measured so."""
    file = run.stage("compare") / "results.json"
    results = json.loads(file.read_text())
    change(results)
    file.write_text(json.dumps(results))
    write_record(run, "compare", run.stage("compare").glob("*"))


def score(run, arm="student"):
    return json.loads((run.stage("compare") / "results.json").read_text())["arms"][arm]["mAP50_95"]


def test_the_best_comes_first_and_figures_are_those_of_the_runs(board, three, tmp_path):
    rows = board(*reversed(three))["tables"][0]["rows"]
    expected = sorted(three, key=lambda run: -score(run))
    assert [row["name"] for row in rows] == [run.root.name for run in expected]
    for row, run in zip(rows, expected, strict=True):
        for arm in ("teacher", "student", "control"):
            assert row["mAP50_95"][arm] == {"mean": score(run, arm), "spread": None, "trainings": 1}
    assert {file.name for file in (tmp_path / "out").iterdir()} == FILES
    table = list(csv.DictReader((tmp_path / "out" / "leaderboard.csv").open()))
    assert [float(line["student_mAP50_95"]) for line in table] == [score(run) for run in expected]
    assert [line["labels_fraction"] for line in table] == ["1.0", "1.0", "0.125"]


def test_what_cannot_be_told_from_the_best_is_said_to_be_so(board, three):
    best, close, bad = board(*three)["tables"][0]["rows"]
    assert (best["standing"], best["to_best"]) == ("best", None)
    assert close["standing"] == "indistinguishable from the best"
    assert close["to_best"]["low"] < 0 < close["to_best"]["high"]
    assert bad["standing"] == "below the best"
    assert bad["to_best"]["high"] < 0
    for row in (best, close, bad):
        gap = row["mAP50_95"]["student"]["mean"] - row["mAP50_95"]["control"]["mean"]
        assert row["gain"]["estimate"] == pytest.approx(gap, abs=2e-3)  # corners on disk are rounded
    assert (best["verdict"], bad["verdict"]) == ("gain", "loss")


def test_the_same_runs_give_the_same_bytes(board, three, tmp_path):
    board(*three)
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    board(*reversed(three))
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize(
    ("change", "words"), [({"draw": 1}, "different test splits"), ({"measured": {"conf": 0.2}}, "thresholds")]
)
def test_other_images_or_thresholds_stand_in_another_table(board, three, tmp_path, change, words):
    data = board(*three, make_compared(tmp_path / "other", 1.0, **change))
    assert [[row["name"] for row in table["rows"]] for table in data["tables"]][1] == ["other"]
    assert data["tables"][1]["rows"][0]["standing"] == "best"
    assert words in data["warnings"][0]
    Page((tmp_path / "out" / "leaderboard.html").read_text()).has_sound_ids()


def test_a_changed_test_label_is_another_test_split(board, three):
    label = three[0].stage("split") / "labels" / "test" / "0.txt"
    label.write_text(label.read_text().replace("0 0.", "1 0.", 1))
    assert len(board(*three)["tables"]) == 2


def test_seeds_of_the_same_settings_are_one_row(board, tmp_path):
    runs = [make_compared(tmp_path / f"s{seed}", 3.0, seed=seed) for seed in range(3)]
    again = make_compared(tmp_path / "again", 3.0, seed=0)
    other = make_compared(tmp_path / "other", 3.0, seed=4, **{"student.epochs": 11})
    rows = board(*runs, again, other)["tables"][0]["rows"]
    folded = next(row for row in rows if len(row["runs"]) == 3)
    values = [score(run) for run in runs]
    assert folded["mAP50_95"]["student"]["mean"] == pytest.approx(statistics.fmean(values))
    assert folded["mAP50_95"]["student"]["spread"] == pytest.approx(statistics.stdev(values))
    assert folded["mAP50_95"]["student"]["trainings"] == 3
    assert sorted(len(row["runs"]) for row in rows) == [1, 1, 3]
    assert folded["seeds"] == [0, 1, 2]


def test_a_teacher_that_runs_share_is_one_model(board, tmp_path):
    runs = [make_compared(tmp_path / f"s{seed}", seed=seed) for seed in (0, 1)]
    shared = {"sha256": "t", "mAP50_95": 0.7}
    for run in runs:
        change_results(run, lambda results: results["arms"]["teacher"].update(shared))
    [row] = board(*runs)["tables"][0]["rows"]
    assert row["mAP50_95"]["teacher"] == {"mean": 0.7, "spread": None, "trainings": 1}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"measured": {"threads": 4}}, "threads 2 / 4"),
        ({"measured": {"processor": "another"}}, "a made-up processor / another"),
        ({"ms": 40.0}, "yolov5m at 320 px took 40.0 ms an image in bad and 160.0 ms in slow"),
    ],
)
def test_speeds_of_other_conditions_are_not_compared(board, three, tmp_path, change, words):
    data = board(*three, make_compared(tmp_path / "slow", 3.0, **change))
    assert words in data["warnings"][0]
    assert all(value is None for row in data["tables"][0]["rows"] for value in row["p50_ms"].values())
    page = (tmp_path / "out" / "leaderboard.html").read_text()
    assert "Accuracy against file size" in page
    assert "Accuracy against time" not in page


def test_speeds_of_the_same_conditions_are_compared(board, three, tmp_path):
    data = board(*three)
    assert data["warnings"] == []
    assert data["tables"][0]["rows"][0]["p50_ms"]["student"] == 10.0
    assert "Accuracy against time" in (tmp_path / "out" / "leaderboard.html").read_text()


def test_only_settings_that_differ_are_listed(board, three):
    settings = board(*three)["tables"][0]["settings"]
    assert set(settings) == {"seed", "distill.scheme", "split.labels_fraction"}
    assert settings["distill.scheme"] == {"good": "online-teacher", "close": "labels", "bad": "online-teacher"}


def test_what_cannot_be_shown_is_named_with_what_to_do(board, three, tmp_path):
    unfinished, broken = make_compared(tmp_path / "unfinished"), make_compared(tmp_path / "broken")
    write_record(unfinished, "compare", [], status="running")
    (broken.stage("compare") / "results.json").write_text("{}")
    runs = (*three, unfinished, broken, tmp_path / "missing")
    with pytest.raises(DatasetError) as caught:
        board(*runs)
    for name in ("unfinished", "broken", "missing"):
        assert f"{name}: " in caught.value.message
        assert f"{name}: " in caught.value.hint
    assert "--skip-unfinished" in caught.value.hint
    assert not (tmp_path / "out").exists()
    data = board(*runs, skip_unfinished=True)
    assert [run["name"] for run in data["left_out"]] == ["unfinished", "broken", "missing"]
    assert len(data["tables"][0]["rows"]) == 3
    assert "missing is left out" in (tmp_path / "out" / "leaderboard.html").read_text()
    with pytest.raises(DatasetError):
        board(unfinished, broken, skip_unfinished=True)


def test_a_comparison_older_than_its_models_or_settings_is_left_out(board, three):
    record = three[0].record("compare")
    record.inputs = {"stage:student": "of another student"}
    three[0].write_record(record)
    write_record(three[0], "student", [])
    student = three[1].record("split")
    student.stage, student.settings = "student", {"seed": 7}
    three[1].stage("student").mkdir()
    three[1].write_record(student)
    data = board(*three, skip_unfinished=True)
    assert [run["name"] for run in data["left_out"]] == ["good", "close"]
    assert all("changed after" in run["message"] for run in data["left_out"])


def test_a_run_that_somebody_works_on_is_left_out(board, three):
    with three[1].locked():
        data = board(*three, skip_unfinished=True)
    assert [run["name"] for run in data["left_out"]] == ["close"]
    assert "Another process is using" in data["left_out"][0]["message"]
    assert not board(*three)["left_out"]


def test_without_detections_there_is_no_interval_and_a_reason(board, three):
    (three[2].stage("compare") / "predictions_student.csv").unlink()
    write_record(three[2], "compare", three[2].stage("compare").glob("*"))
    row = board(*three)["tables"][0]["rows"][2]
    assert (row["to_best"], row["standing"], row["gain"]) == (None, None, None)
    assert "predictions_student.csv" in row["note"]


def test_label_budgets_stand_for_their_runs(board, tmp_path):
    whole = RunDir(tmp_path / "few")
    for share in (0.25, 1.0):
        make_compared(whole.budgets / f"{share:g}", 3.0, **{"split.labels_fraction": share})
    whole.config.write_text("label_budgets: [0.25, 1.0]\n")
    rows = board(whole, tmp_path / "few" / "budgets" / "1")["tables"][0]["rows"]
    assert sorted(row["name"] for row in rows) == ["few/0.25", "few/1"]


def test_nothing_of_others_is_overwritten(board, three, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    board(*three)  # an empty folder is free
    board(*three)  # one of ours as well
    (out / "leaderboard.json").write_text('{"kind": "something else"}')
    with pytest.raises(RunExistsError, match="no leaderboard"):
        board(*three)
    board(*three, force=True)
    assert (tmp_path / "out-1" / "leaderboard.json").read_text() == '{"kind": "something else"}'
    assert {file.name for file in out.iterdir()} == FILES


def test_by_default_it_lies_beside_the_first_run(tmp_path):
    assert leaderboard.default_folder([tmp_path / "a", tmp_path / "x" / "b"]) == tmp_path / "comparison"


def test_the_page_needs_nothing_else_and_leads_to_the_reports(board, three, tmp_path):
    (three[0].stage("report")).mkdir()
    (three[0].stage("report") / "report.html").write_text("x")
    data = board(*three)
    text = (tmp_path / "out" / "leaderboard.html").read_text()
    page = Page(text)
    page.has_sound_ids()
    assert ("a", "href", "../good/report/report.html") in page.attributes
    assert not [value for _, name, value in page.attributes if name == "src"]
    # Each cell stands under its own head.
    head = text[text.index("<thead>") : text.index("</thead>")]
    assert head.count("<th ") == len(COLUMNS)
    first = text[text.index('<tr class="main">') :].partition("</tr>")[0]
    assert first.count("<td") + first.count("<th") == len(COLUMNS)
    cells = dict(
        zip(COLUMNS, [c.partition(">")[2] for c in first.replace("<th ", "<td ").split("<td")[1:]], strict=True)
    )
    best = data["tables"][0]["rows"][0]["mAP50_95"]
    for arm in ("student", "control", "teacher"):
        assert cells[arm].startswith(f"{best[arm]['mean']:.3f}")


@pytest.mark.parametrize("name", [n for n in NASTY if len(n) < 100])
def test_names_do_no_harm(board, tmp_path, name):
    folder = name.replace("/", "_")
    board(make_compared(tmp_path / folder), make_compared(tmp_path / "plain", 4.0))
    page = Page((tmp_path / "out" / "leaderboard.html").read_text())
    assert page.tags.count("script") == 1
    assert not [attribute for _, attribute, _ in page.attributes if attribute.startswith("on")]
    markdown = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "<script" not in markdown
    assert "\x1b" not in markdown
    lines = list(csv.DictReader((tmp_path / "out" / "leaderboard.csv").open()))
    assert not any(line["run"].lstrip().startswith(("=", "+", "-", "@")) for line in lines)


def test_a_copy_of_a_run_does_not_compete_with_it(board, three, tmp_path):
    shutil.copytree(three[0].root, tmp_path / "copy")
    rows = board(*three, RunDir(tmp_path / "copy"))["tables"][0]["rows"]
    copy, good = (next(row for row in rows if row["name"] == name) for name in ("copy", "good"))
    assert copy["rank"] == good["rank"]
    assert copy["standing"] == good["standing"]
    assert good["note"] == "the very student of copy"
    assert sorted(row["rank"] for row in rows) in ([1, 1, 3, 4], [1, 2, 2, 4])


@pytest.mark.parametrize("place", ["", "good", "good/compare", "budgeted"])
def test_no_run_is_moved_aside_or_written_into(board, three, tmp_path, place):
    (tmp_path / "budgeted" / "budgets" / "1").mkdir(parents=True)
    (tmp_path / "budgeted" / "config.yaml").write_text("")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunExistsError, match="holds a run or lies in one"):
        board(*three, out=tmp_path / place, force=True)
    assert sorted(tmp_path.rglob("*")) == before
