"""Imports point downward only, heavy packages stay in their rooms, and looking costs no torch."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "kdyolo"
LEVELS = {
    **dict.fromkeys(("errors", "yamlio", "config", "gates", "template", "storage", "boxes", "text", "progress"), 0),
    "language": 0,
    **dict.fromkeys(("datasets", "engine"), 1),
    **dict.fromkeys(("pseudo", "evaluation", "distill"), 2),
    "stages": 3,
    **dict.fromkeys(("pipeline", "report", "health", "api"), 4),
    "cli": 5,
}
# L0 is one ground floor; the others are the only ways along a floor.
ALONG = {("pipeline", "report"), ("api", "pipeline"), ("api", "report"), ("api", "health")}
ROOMS_OF = {
    "ultralytics": {"engine", "distill"},
    "torch": {"engine", "evaluation", "distill"},
    "torchvision": {"engine", "evaluation", "distill"},
    "typer": {"cli"},
    "rich": {"cli"},
    "click": set(),
}
FILES = sorted(PACKAGE.rglob("*.py"))
# The way in: these two may name anything, but lazily.
DOORS = {PACKAGE / "__init__.py", PACKAGE / "__main__.py"}


def room(file):
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file):
    """Absolute dotted names that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("file", [f for f in FILES if f not in DOORS], ids=lambda f: f.relative_to(PACKAGE).as_posix())
def test_imports_point_downward(file):
    here = room(file)
    assert here in LEVELS, f"{here} has no level"
    for name in imports(file):
        parts = name.split(".")
        if parts[0] != "kdyolo" or len(parts) == 1:
            continue
        there = parts[1]
        if there in LEVELS and there != here:
            below = LEVELS[there] < LEVELS[here]
            assert below or LEVELS[here] == LEVELS[there] == 0 or (here, there) in ALONG, f"{here} imports {there}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(PACKAGE).as_posix())
def test_heavy_packages_stay_in_their_rooms(file):
    for name in imports(file):
        top = name.split(".")[0]
        assert top not in ROOMS_OF or room(file) in ROOMS_OF[top], f"{file} imports {top}"


def test_stages_do_not_import_each_other():
    for file in (PACKAGE / "stages").glob("*.py"):
        others = {name.split(".")[2] for name in imports(file) if name.startswith("kdyolo.stages.")}
        assert others <= {"base", "training", "teaching", "preflight"}, f"{file} imports {others}"


CALL = "import sys; sys.argv = {!r}; from kdyolo.cli.main import app; app(standalone_mode=False)"


@pytest.mark.parametrize(
    "code",
    [
        "import kdyolo.stages.split",
        "import kdyolo.datasets",
        "import kdyolo; kdyolo.run",
        "import kdyolo.pipeline; kdyolo.pipeline.chain()",
        CALL.format(["kdyolo", "--help"]),
        CALL.format(["kdyolo", "run", "--help"]),
        CALL.format(["kdyolo", "methods"]),
        CALL.format(["kdyolo", "methods", "show", "response"]),
    ],
)
def test_looking_loads_no_torch(code):
    heavy = "{'torch', 'ultralytics', 'pandas', 'matplotlib', 'cv2'}"
    allowed = "{'cv2'}" if "stages" in code or "chain" in code or "datasets" in code else "set()"
    check = (
        f"{code}\nimport sys; assert not ({heavy} - {allowed}) & set(sys.modules), sorted(set(sys.modules) & {heavy})"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_takes_at_most_a_quarter_of_importing_torch():
    def best_of(times, *command):
        taken = []
        for _ in range(times):
            start = time.perf_counter()
            subprocess.run([sys.executable, *command], capture_output=True, check=True)
            taken.append(time.perf_counter() - start)
        return min(taken)

    assert best_of(3, "-m", "kdyolo", "--help") <= best_of(3, "-c", "import torch") / 4
