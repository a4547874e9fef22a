"""``report.pdf``: the page, printed by a browser that is installed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import psutil

from kdyolo.errors import EnvironmentFault
from kdyolo.storage import atomic_path

VARIABLE = "KDYOLO_BROWSER"
"""Environment variable that names the browser."""
TIMEOUT = 180.0
"""Seconds that printing may take."""
_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "microsoft-edge-stable",
    "msedge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe",
)
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no name leads anywhere, so nothing can be fetched
    "--no-pdf-header-footer",
)
_WHEN = re.compile(rb"/(CreationDate|ModDate) \(D:\d{14}")


def print_page(page: Path, pdf: Path, timeout: float = TIMEOUT) -> None:
    """Print an HTML file to PDF with the first Chromium, Chrome or Edge that is found, or that of ``KDYOLO_BROWSER``.

    The browser runs headless, with a profile of its own that is removed afterwards, and without a network. The dates in
    the PDF are blanked, so that one browser prints the same page to the same bytes.

    Args:
        page: The page.
        pdf: The file to write; an earlier one stays if this fails.
        timeout: Seconds that it may take.

    Raises:
        EnvironmentFault: There is no browser, it fails or takes too long, or the file cannot be written.
    """
    browser = find_browser()
    with atomic_path(pdf) as temporary, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        printed = Path(profile) / "page.pdf"
        command = [browser, *_FLAGS, f"--user-data-dir={profile}", f"--print-to-pdf={printed}"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--no-sandbox")  # as root, in a container, Chromium starts only so; the page is our own
        said = _run([*command, page.absolute().as_uri()], timeout)
        if not printed.is_file() or not printed.stat().st_size:
            raise EnvironmentFault(
                f"{browser} printed nothing: {said or 'it said nothing'}.",
                f"Name another browser with {VARIABLE}, or open {page} and print it.",
            )
        temporary.write_bytes(_WHEN.sub(rb"/\1 (D:19800101000000", printed.read_bytes()))


def find_browser() -> str:
    """The program that prints.

    Raises:
        EnvironmentFault: None of the usual ones is installed, or that of ``KDYOLO_BROWSER`` is not there.
    """
    if given := os.environ.get(VARIABLE):
        if found := shutil.which(given):
            return found
        message = f"{VARIABLE} names {given}, which is no program; the rest of the report is written."
        raise EnvironmentFault(message, "Give the path of a Chromium, Chrome or Edge.")
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        raise EnvironmentFault(
            "There is no browser to print report.pdf with; the rest of the report is written.",
            f"Install Chromium (such as `apt install chromium`), Chrome or Edge, or name one with {VARIABLE}.",
        )
    return found


def _run(command: list[str], timeout: float) -> str:
    """Run a browser and return the last line it says; its children end with it."""
    with tempfile.TemporaryFile() as said:  # not a pipe: a child of the browser would keep it open
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
        except OSError as error:
            raise EnvironmentFault(f"{command[0]} cannot be started: {error.strerror}.", f"See {VARIABLE}.") from error
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise EnvironmentFault(
                f"{command[0]} did not print the page within {timeout:g} s.", f"Name another browser with {VARIABLE}."
            ) from error
        finally:
            _end(process)
        said.seek(0)
        lines = said.read().decode("utf-8", "replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process.kill()
    process.wait()
