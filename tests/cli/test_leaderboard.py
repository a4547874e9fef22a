"""`kdyolo report` with several runs: what it shows, and which flags go with it."""

import csv

import pytest
from compared import make_compared, write_record


@pytest.fixture
def two(tmp_path):
    return [make_compared(tmp_path / "runs" / name, shift) for name, shift in (("good", 2.0), ("bad", 9.0))]


def test_two_runs_stand_side_by_side(kdyolo, two, tmp_path):
    done = kdyolo("report", "runs/bad", "runs/good")
    assert done.code == 0
    assert done.stdout.index("good") < done.stdout.index("bad")
    assert "good has the best student" in done.stdout
    assert (tmp_path / "runs" / "comparison" / "leaderboard.html").is_file()
    data = kdyolo("report", "runs/bad", "runs/good", "--json").json
    assert [row["name"] for row in data["tables"][0]["rows"]] == ["good", "bad"]
    assert len(data["files"]) == 4


def test_out_force_and_skip_unfinished(kdyolo, two, tmp_path):
    write_record(two[1], "compare", [], status="failed")
    refused = kdyolo("report", "runs/good", "runs/bad", "--out", "out")
    assert refused.code == 3
    assert "bad: " in refused.stderr
    assert "kdyolo run --run runs/bad" in refused.stderr
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    shown = kdyolo("report", "runs/good", "runs/bad", "--out", "out", "--skip-unfinished")
    assert shown.code == 5
    assert kdyolo("report", "runs/good", "runs/bad", "--out", "out", "--skip-unfinished", "--force").code == 0
    assert (tmp_path / "out-1" / "mine.txt").is_file()
    assert [row["run"] for row in csv.DictReader((tmp_path / "out" / "leaderboard.csv").open())] == ["good"]


def test_a_language_is_that_of_the_pages_and_the_terminal_stays_english(kdyolo, two, tmp_path):
    kdyolo("report", "runs/bad", "runs/good", "--out", "en")
    done = kdyolo("report", "runs/bad", "runs/good", "--out", "pt", "--lang", "pt")
    assert done.code == 0
    assert "good has the best student" in done.stdout
    assert "good tem o melhor aluno" in (tmp_path / "pt" / "leaderboard.html").read_text()
    assert "good tem o melhor aluno" in (tmp_path / "pt" / "leaderboard.md").read_text()
    for file in ("leaderboard.csv", "leaderboard.json"):
        assert (tmp_path / "pt" / file).read_bytes() == (tmp_path / "en" / file).read_bytes()
    assert kdyolo("report", "runs/bad", "runs/good", "--lang", "xx").code == 2


@pytest.mark.parametrize("flags", [["--out", "x"], ["--force"], ["--skip-unfinished"]])
def test_one_run_takes_none_of_them(kdyolo, two, flags):
    assert kdyolo("report", "runs/good", *flags).code == 2


def test_a_pdf_is_of_one_run(kdyolo, two):
    assert kdyolo("report", "runs/good", "runs/bad", "--pdf").code == 2
