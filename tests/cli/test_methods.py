"""`kdyolo methods`: what is listed, and what is said of one."""

import pytest
from typer.testing import CliRunner

import kdyolo as package
from kdyolo.cli.main import app


def test_the_list(kdyolo):
    done = kdyolo("methods")
    assert (done.code, done.stderr) == (0, "")
    assert "kdyolo methods show NAME" in done.stdout
    at = 0  # families together, methods in their order
    for info in package.methods():
        assert done.stdout.index(f"{info['family'].upper()} methods") < done.stdout.index(f"\n  {info['name']} (")
        assert done.stdout.index(f"\n  {info['name']} (") > at
        at = done.stdout.index(f"\n  {info['name']} (")


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_says_of_each_all_that_decides_and_fits(kdyolo, monkeypatch, width):
    monkeypatch.setattr("kdyolo.cli.console._PLAIN_WIDTH", width)
    monkeypatch.setenv("COLUMNS", str(width))
    done = kdyolo("methods")
    assert max(map(len, done.stdout.splitlines())) <= width
    said = " ".join(done.stdout.split())
    for info in package.methods():
        for word in ("Formula", "Paper", "Cost", "Use"):
            assert f"{word} {info[word.lower()]}" in said


def test_json_is_a_list(kdyolo):
    found = kdyolo("methods", "--json").json
    assert found == package.methods()
    assert {"name", "family", "paper", "formula", "cost", "use"} <= found[0].keys()
    assert {m["family"] for m in found} == {"response", "feature", "relation"}


@pytest.mark.parametrize("name", [m["name"] for m in package.methods()])
def test_show(kdyolo, name):
    info = kdyolo("methods", "show", name, "--json").json
    assert info == package.describe_method(name)
    shown = kdyolo("methods", "show", name).stdout
    assert shown.startswith(f"{name} ({info['family']})\n")
    for key in ("formula", "equation", "paper", "url", "cost", "use", "differs"):
        assert info[key] in shown
    assert ("2 classes" in shown) == (name == "hinton")


def test_show_of_a_combination_names_its_parts(kdyolo):
    assert "0.5 bckd + 1.5 ld" in kdyolo("methods", "show", "response").stdout


def test_an_unknown_method(kdyolo):
    done = kdyolo("methods", "show", "fitnets")
    assert done.code == 2
    assert "Did you mean 'fitnet'?" in done.stderr
    assert kdyolo("methods", "show", "fitnets", "--json").json["exit_code"] == 2


def test_quiet(kdyolo):
    done = kdyolo("methods", "--quiet")
    assert (done.code, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("words", "first"), [(["methods"], "methods"), (["methods", "show"], "methods show ")])
def test_help_starts_with_examples(monkeypatch, words, first):
    monkeypatch.setenv("COLUMNS", "140")
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    lines = [line.strip() for line in result.stdout.splitlines() if line.strip()]
    assert lines[1] == "Examples"
    assert lines[2].startswith(f"$ kdyolo {first}")
    for flag in ("--json", "--quiet"):
        assert f"{flag} " in result.stdout
