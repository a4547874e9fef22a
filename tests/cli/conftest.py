import json
import sys

import fake_chain
import pytest

from kdyolo import api, pipeline
from kdyolo.cli import main as entry


class Done:
    """What a command left: its exit code, and what it wrote."""

    def __init__(self, code, stdout, stderr):
        self.code, self.stdout, self.stderr = code, stdout, stderr

    @property
    def json(self):
        return json.loads(self.stdout)


@pytest.fixture
def kdyolo(tmp_path, monkeypatch, capsys):
    """The real command on fake stages, in this process: ``kdyolo("run", "data")``."""
    monkeypatch.setitem(sys.modules, "kdyolo.report.build", fake_chain.report_module())
    monkeypatch.setattr(pipeline, "chain", lambda config=None: fake_chain.CHAIN)
    monkeypatch.setattr(api, "chain", lambda config=None: fake_chain.CHAIN)
    monkeypatch.setattr(entry.signal, "signal", lambda *arguments: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("KDYOLO_DEBUG", raising=False)
    fake_chain.make_source(tmp_path / "data")
    (tmp_path / "fake.txt").write_text("mine")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["kdyolo", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            entry.main()
        captured = capsys.readouterr()
        return Done(caught.value.code, captured.out, captured.err)

    return call
