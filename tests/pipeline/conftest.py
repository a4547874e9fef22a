import sys

import fake_chain
import pytest

from kdyolo.storage import RunDir


class Notes:
    """A `Progress` that remembers what it was told."""

    def __init__(self):
        self.messages, self.warnings, self.open = [], [], 0

    def start(self, title, total):
        self.open += 1

    def update(self, completed, **figures):
        pass

    def finish(self):
        self.open = 0

    def note(self, message):
        self.messages.append(message)

    def warn(self, message):
        self.warnings.append(message)


@pytest.fixture(autouse=True)
def _fake_report(monkeypatch):
    monkeypatch.setitem(sys.modules, "kdyolo.report.build", fake_chain.report_module())


@pytest.fixture
def run(tmp_path):
    return RunDir(tmp_path / "runs" / "first")


@pytest.fixture
def source(tmp_path):
    return fake_chain.make_source(tmp_path / "data")


@pytest.fixture
def notes():
    return Notes()
