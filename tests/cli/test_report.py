"""`kdyolo report`: builds anew, prints to PDF when asked to, and shows the schema."""

import json

import pytest

from kdyolo.report import pdf


@pytest.fixture
def compared(kdyolo, tmp_path):
    assert kdyolo("run", "data").code == 0
    return tmp_path / "runs" / "data"


def test_it_builds_the_report_anew_and_the_run_stays_finished(kdyolo, compared):
    manifest = json.loads((compared / "manifest.json").read_text())
    (compared / "report" / "report.html").unlink()
    done = kdyolo("report", "runs/data", "--json")
    assert done.code == 0
    assert done.json["summary"]["verdict"] == "Hard to say."
    assert done.json["files"] == {"report.html": str(compared / "report" / "report.html")}
    assert json.loads((compared / "manifest.json").read_text()) == manifest
    assert "Nothing to do" in kdyolo("run", "data").stderr


def test_a_language_is_for_this_build_and_the_settings_stay(kdyolo, compared):
    settings = (compared / "config.yaml").read_text()
    assert kdyolo("report", "runs/data", "--lang", "pt").code == 0
    page = compared / "report" / "report.html"
    assert page.read_text() == "<html lang=pt></html>"
    assert (compared / "config.yaml").read_text() == settings
    assert kdyolo("run", "data").code == 0
    assert page.read_text() == "<html></html>"
    assert kdyolo("compare", "--run", "runs/data", "--lang", "pt").code == 0
    assert page.read_text() == "<html lang=pt></html>"
    assert "lang: pt" in (compared / "config.yaml").read_text()


def test_an_unknown_language_is_refused_with_the_choice(kdyolo, compared):
    done = kdyolo("report", "runs/data", "--lang", "xx")
    assert done.code == 2
    assert "'en', 'pt'" in done.stderr


def test_it_shows_the_verdict_and_where_the_files_are(kdyolo, compared):
    done = kdyolo("report", "runs/data")
    assert "Hard to say." in done.stdout
    assert "report.html" in done.stdout


def test_a_pdf_is_printed_only_when_asked_for(kdyolo, compared, monkeypatch):
    printed = []
    monkeypatch.setattr(pdf, "print_page", lambda page, target: printed.append((page, target)))
    kdyolo("report", "runs/data")
    assert printed == []
    kdyolo("report", "runs/data", "--pdf")
    assert printed == [(compared / "report" / "report.html", compared / "report" / "report.pdf")]


def test_without_a_browser_the_rest_is_written(kdyolo, compared, monkeypatch):
    monkeypatch.setenv(pdf.VARIABLE, "no-such-browser")
    (compared / "report" / "report.html").unlink()
    done = kdyolo("report", "runs/data", "--pdf")
    assert done.code == 7
    assert "no-such-browser" in done.stderr
    assert (compared / "report" / "report.html").is_file()


def test_the_schema_is_printed_without_a_run(kdyolo):
    done = kdyolo("report", "--schema")
    assert done.code == 0
    assert json.loads(done.stdout)["properties"]["schema_version"]["const"] == 1


def test_a_run_must_be_named_and_be_there(kdyolo):
    assert kdyolo("report").code == 2
    assert kdyolo("report", "runs/none").code == 2
