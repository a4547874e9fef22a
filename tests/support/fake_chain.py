"""A chain of stages that only write small files; run as a script, the real command line on that chain.

``FAKE_<STAGE>`` in the environment makes a stage misbehave: fail, crash, interrupt, exit, sleep, big, dressed.
Every call of a stage adds its name to ``calls.log`` beside the run directory.
"""

from __future__ import annotations

import json
import os
import sys
import time
import types
from pathlib import Path

from kdyolo import api, pipeline
from kdyolo.config import Config
from kdyolo.errors import DatasetError, StageError
from kdyolo.stages.base import Stage, StageContext, StageResult
from kdyolo.storage import RunDir, sha256_file, write_json, write_text

NEEDS = {
    "split": (),
    "teacher": ("split",),
    "pseudo": ("split", "teacher"),
    "student": ("split", "pseudo"),
    "baseline": ("split",),
    "compare": ("split", "teacher", "student", "baseline"),
}
COMMANDS = {
    "split": "split",
    "teacher": "train-teacher",
    "pseudo": "pseudo-label",
    "student": "train-student",
    "baseline": "train-student --baseline",
    "compare": "compare",
}
SECTIONS = {"baseline": "student"}
FACTS: dict[str, float] = {}


def _settings(name: str):
    section = SECTIONS.get(name, name)
    if name == "split":  # it has its own seed
        return lambda config: {"split": config.model_dump()["split"]}
    return lambda config: {"seed": config.seed, section: config.model_dump()[section]}


def _inputs(name: str):
    def fingerprints(config: Config) -> dict[str, str]:
        if name != "split":
            return {}
        file = Path(config.data.source or "") / "data.txt"
        if not file.is_file():
            raise DatasetError(f"{file} is not there.", "Give a folder with a data.txt.")
        return {"source": sha256_file(file)}

    return fingerprints


def _work(name: str):
    def work(context: StageContext) -> StageResult:
        folder = context.run.stage(name)
        with (context.run.root.parent / "calls.log").open("a") as log:
            log.write(f"{name}\n")
        resumed = (folder / "started").exists()
        (folder / "started").touch()
        context.progress.start(name, 3)
        for step in range(3):
            context.progress.update(step + 1, loss=0.5)
        _misbehave(os.environ.get(f"FAKE_{name.upper()}", ""), folder)
        content = {
            "settings": context.config.model_dump(mode="json")[SECTIONS.get(name, name)],
            "needs": {need: sha256_file(context.run.stage(need) / "out.json") for need in NEEDS[name]},
        }
        write_json(folder / "out.json", content)
        facts = {"resumed": resumed, "images": 3, "dataset_sha256": "abc", "forced": context.force, **FACTS}
        return StageResult([folder / "out.json"], facts, f"{name} wrote [red]out.json[/red]\x1b[31m")

    return work


def _misbehave(how: str, folder: Path) -> None:
    if how == "fail":
        raise StageError("It did not work.", "Try something else.")
    if how == "crash":
        raise ValueError("bad [value]")
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "exit":
        sys.exit(3)
    if how == "sleep":
        (folder / ".out.json.99999999.tmp").write_text("half")
        (folder / "asleep").touch()
        time.sleep(60)
    if how in ("big", "dressed"):
        try:
            (folder / "big.bin").write_bytes(bytes(4_000_000))
        except OSError as error:
            if how == "dressed":
                raise RuntimeError("writer failed") from error
            raise


CHAIN = tuple(
    Stage(name, COMMANDS[name], NEEDS[name], _settings(name), _inputs(name), ("numpy",), _work(name)) for name in NEEDS
)


def build(run: RunDir, lang: str = "en") -> list[Path]:
    """A report of three arms."""
    if os.environ.get("FAKE_REPORT") == "crash":
        raise ValueError("no plot")
    arm = {"model": "yolov5n", "mAP50": 0.5, "mAP50_95": None, "latency_ms": {"p50": 5.0}, "fps": 200.0}
    summary = {"verdict": "Hard to say.", "arms": {"teacher": arm, "student": arm, "control": arm}}
    write_json(run.root / "report" / "summary.json", summary)
    write_text(run.root / "report" / "report.html", "<html></html>" if lang == "en" else f"<html lang={lang}></html>")
    return [run.root / "report" / "summary.json", run.root / "report" / "report.html"]


def report_module() -> types.ModuleType:
    """Stands for `kdyolo.report.build`."""
    module = types.ModuleType("kdyolo.report.build")
    module.build = build  # type: ignore[attr-defined]
    return module


def calls(run: RunDir) -> list[str]:
    """Stages called since the last look."""
    log = run.root.parent / "calls.log"
    names = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return names


def make_source(folder: Path) -> Path:
    """A data set the fake split accepts."""
    folder.mkdir()
    (folder / "data.txt").write_text("images")
    return folder


if __name__ == "__main__":
    sys.modules["kdyolo.report.build"] = report_module()
    pipeline.chain = api.chain = lambda config=None: CHAIN  # type: ignore[assignment]
    from kdyolo.cli.main import main

    print(json.dumps({"ready": os.getpid()}), file=sys.stderr, flush=True)
    main()
