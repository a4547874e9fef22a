"""Every command explains itself and is in the README."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from kdyolo.cli.main import app

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
COMMON = ["--json", "--quiet"]
WORK = ["--run", "--resume", "--force", "--dry-run", "--config", "--set", *COMMON]
SPLIT = ["--ratios", "--keep-splits", "--from", "--repair", "--group-by", "--near-duplicates", "--allow-outside"]
FEW = ["--labels-fraction", "--label-budget", "--images"]
TRAIN = ["--model", "--weights", "--from-scratch", "--epochs", "--imgsz", "--batch", "--offline", "--device", "--track"]
BOTH = ["--teacher-model", "--student-model", "--epochs", "--imgsz", "--batch", "--from-scratch", "--labels"]
MACHINE = ["--offline", "--precision", "--device", "--track"]
FLAGS = {
    "run": [
        *WORK,
        *BOTH,
        *MACHINE,
        "--seed",
        "--seeds",
        "--assistant",
        "--data-free",
        "--require",
        "--lang",
        *SPLIT,
        *FEW,
    ],
    "demo": ["--run", "--resume", "--force", "--config", "--set", "--offline", "--lang", *COMMON],
    "audit": ["--html", "--strict", "--all", "--config", "--set", "--format", "--allow-outside", *COMMON],
    "split": [*WORK, *SPLIT, "--seed", "--folds", "--repeats", "--format", "--labels-fraction"],
    "train-teacher": [*WORK, *TRAIN, "--teacher", "--seed", "--precision"],
    "pseudo-label": [*WORK, "--images", "--conf", "--iou", "--augment"],
    "train-student": [
        *WORK,
        *TRAIN,
        "--labels",
        "--baseline",
        "--scheme",
        "--self",
        "--generations",
        "--method",
        "--kd-weight",
    ],
    "preflight": ["--run", "--scheme", "--self", "--method", "--config", "--set", "--device", *COMMON],
    "benchmark": [
        *("--images", "--run", "--backends", "--imgsz", "--batch", "--timed", "--threads", "--device", "--out"),
        *COMMON,
    ],
    "compare": [*WORK, "--min-effect", "--require", "--lang"],
    "status": COMMON,
    "report": ["--pdf", "--schema", "--out", "--force", "--skip-unfinished", "--lang", *COMMON],
    "watch": ["--interval", "--once", *COMMON],
    "init": ["--force", *COMMON],
    "doctor": COMMON,
}


@pytest.fixture
def help_of(monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    return lambda *names: CliRunner().invoke(app, [*names, "--help"])


def test_the_list_is_complete():
    assert sorted(command.name for command in app.registered_commands) == sorted(FLAGS)


@pytest.mark.parametrize("name", FLAGS)
def test_help_starts_with_examples_and_has_every_flag(help_of, name):
    result = help_of(name)
    assert result.exit_code == 0
    lines = [line.strip() for line in result.stdout.splitlines() if line.strip()]
    assert lines[0].startswith(f"Usage: kdyolo {name}") or lines[0].startswith(f"Usage: root {name}")
    assert lines[1] == "Examples"
    assert lines[2].startswith("$ kdyolo ")
    for flag in FLAGS[name]:
        assert f"{flag} " in result.stdout, flag


def test_help_says_which_seed_it_is(help_of):
    assert "Seed of the split" in help_of("split").stdout
    for name in ("run", "train-teacher"):
        assert "Seed of weights" in help_of(name).stdout
    for flag in ("--seed", "--precision"):  # they decide the teacher as well, so they cannot change for a student alone
        assert flag not in help_of("train-student").stdout


def test_examples_use_flags_that_exist(help_of):
    for name in FLAGS:
        examples = [line.split() for line in help_of(name).stdout.splitlines() if line.strip().startswith("$ kdyolo")]
        for words in examples:
            known = {"-S", "-c", *FLAGS[words[2]]}
            assert {word for word in words if word.startswith("-")} <= known


def test_the_app_lists_every_command(help_of):
    stdout = help_of().stdout
    for name in FLAGS:
        assert f" {name} " in stdout


@pytest.mark.parametrize("name", FLAGS)
def test_every_command_is_in_the_readme(name):
    assert f"`kdyolo {name}" in README


def test_every_exit_code_is_in_the_readme():
    from kdyolo import errors

    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    for error in classes:
        assert f"\n| {error.exit_code} |" in README


def test_the_readme_starts_with_its_two_commands():
    assert README.index("make demo") < README.index("make test") < README.index("kdyolo run DATASET")
