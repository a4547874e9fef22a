"""Printing with a browser: which one, how, and what is said when it does not work."""

import contextlib
import shutil
import sys
import time

import psutil
import pytest

from kdyolo.errors import EnvironmentFault
from kdyolo.report import pdf
from kdyolo.report.build import build

FAKE = """#!{python}
import json, os, pathlib, subprocess, sys, time
flags = dict(part.partition("=")[::2] for part in sys.argv[1:])
pathlib.Path({log!r}).write_text(json.dumps(sys.argv[1:]))
{act}
"""
PRINTS = """
assert os.path.isdir(flags["--user-data-dir"])
when = b"/CreationDate (D:" + str(time.time_ns())[:14].encode() + b"+00'00')"
pathlib.Path(flags["--print-to-pdf"]).write_bytes(b"%PDF-1.4 " + when)
"""


@pytest.fixture
def browser(tmp_path, monkeypatch):
    """Makes the program that `KDYOLO_BROWSER` names, and returns its log."""

    def make(act):
        log, program = tmp_path / "log.json", tmp_path / "browser"
        program.write_text(FAKE.format(python=sys.executable, log=str(log), act=act))
        program.chmod(0o755)
        monkeypatch.setenv(pdf.VARIABLE, str(program))
        return log

    return make


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "a #1 ü.html"
    path.write_text("<p>page</p>")
    return path


def test_it_prints_with_a_profile_of_its_own_and_no_network(browser, page, tmp_path):
    log = browser(PRINTS)
    pdf.print_page(page, tmp_path / "report.pdf")
    said = log.read_text()
    assert "--headless" in said
    assert "MAP * ~NOTFOUND" in said
    assert page.as_uri() in said
    assert "--user-data-dir=" in said
    profile = said.partition("--user-data-dir=")[2].partition('"')[0]
    assert not psutil.os.path.exists(profile)


def test_the_same_page_gives_the_same_bytes(browser, page, tmp_path):
    browser(PRINTS)
    pdf.print_page(page, tmp_path / "report.pdf")
    first = (tmp_path / "report.pdf").read_bytes()
    assert first.startswith(b"%PDF")
    time.sleep(0.01)
    pdf.print_page(page, tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes() == first


def test_a_browser_that_prints_nothing_is_quoted_and_the_old_file_stays(browser, page, tmp_path):
    browser("sys.stderr.write('a\\nno display\\n'); sys.exit(1)")
    (tmp_path / "report.pdf").write_text("old")
    with pytest.raises(EnvironmentFault, match="no display"):
        pdf.print_page(page, tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_text() == "old"


def test_a_browser_that_hangs_is_ended_with_its_children(browser, page, tmp_path):
    pid = tmp_path / "child.pid"
    browser(
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(child.pid))\ntime.sleep(60)"
    )
    with pytest.raises(EnvironmentFault, match="within 2 s"):
        pdf.print_page(page, tmp_path / "report.pdf", timeout=2)
    child = int(pid.read_text())
    until = time.monotonic() + 20  # a busy machine takes a moment to end it
    while _runs(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_without_a_browser_it_says_what_to_install(page, tmp_path, monkeypatch):
    monkeypatch.delenv(pdf.VARIABLE, raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(EnvironmentFault, match="no browser") as caught:
        pdf.print_page(page, tmp_path / "report.pdf")
    assert "Install Chromium" in caught.value.hint
    monkeypatch.setenv(pdf.VARIABLE, "/no/such/browser")
    with pytest.raises(EnvironmentFault, match="no program"):
        pdf.find_browser()


def test_the_usual_names_are_tried_in_order(monkeypatch):
    monkeypatch.delenv(pdf.VARIABLE, raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name in ("msedge", "google-chrome") else None)
    assert pdf.find_browser() == "/bin/google-chrome"


def test_a_pdf_of_another_page_does_not_stay(run):
    build(run)
    printed = run.stage("report") / "report.pdf"
    printed.write_text("of this page")
    build(run)
    assert printed.is_file()
    (run.stage("report") / "report.html").write_text("another page")
    build(run)
    assert not printed.exists()


@pytest.mark.slow
def test_a_real_browser_prints_the_whole_report(run):
    try:
        pdf.find_browser()
    except EnvironmentFault as error:
        pytest.skip(error.message)
    build(run)
    pdf.print_page(run.stage("report") / "report.html", run.stage("report") / "report.pdf")
    printed = (run.stage("report") / "report.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page\n") >= 2
