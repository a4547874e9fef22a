import json

from typer.testing import CliRunner

from kdyolo import api
from kdyolo.cli.main import app

FOUND = {
    "scheme": "cached",
    "method": "response",
    "checks": [
        {"check": "classes", "level": "ok", "told": "2 of 2 matched by name"},
        {"check": "teacher", "level": "warning", "told": "There is little to learn from it."},
    ],
    "forecast": {"step_seconds": 0.5, "plain_step_seconds": 0.25, "seconds": 90, "memory_mb": 900, "cache_mb": 1.25},
}


def call(monkeypatch, *arguments):
    asked = []

    def preflight(run, config, progress):
        asked.append(config)
        return FOUND

    monkeypatch.setattr(api, "preflight_with", preflight)
    result = CliRunner().invoke(app, ["preflight", "--run", "runs/x", "-S", "data.source=data", *arguments])
    assert result.exit_code == 0, result.output
    return asked[0], result.output


def test_it_says_what_was_found_and_what_it_takes(monkeypatch):
    config, output = call(monkeypatch, "--scheme", "self", "--self", "ema", "--method", "bckd", "--generations", "3")
    assert (config.distill.scheme, config.distill.self_teacher, config.distill.method) == ("self", "ema", "bckd")
    assert config.distill.generations == 3
    for text in ("matched by name", "warning", "2.00 times a plain one", "1 min 30 s", "1.2 MB of stored"):
        assert text in output, text


def test_as_json(monkeypatch):
    assert json.loads(call(monkeypatch, "--json")[1]) == FOUND
