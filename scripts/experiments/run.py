"""Train many kinds of student alike, one after the other, and note how good each is.

    python scripts/experiments/run.py screening --data bccd --out runs/experiments
    python scripts/experiments/run.py confirmation --data bccd --data cards --out runs/experiments --arms A --arms B ...

*screening*: every arm of arms.py once, seed 0. *confirmation*: the controls, native and the arms named, seeds 0, 1, 2.
Both under three conditions: ``all`` labels; ``eighth``: one in eight labelled, the rest as pool, also for the teacher;
``bought``: the student has one in eight, its teacher had all. Every finished student is a row of results.csv; what is
there already is not trained again, so a stopped command is simply given again. `summarise.py` reads the table.
`--remember DIR` keeps the teacher's answers for the next arm, see `remember.py`: half the time, and no seconds then.

Weights are kept in OUT/models, so that any figure can be measured again.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from arms import ARMS, CONTROL, POOLED, Arm
from remember import remember

from kdyolo import api
from kdyolo.config import load_config
from kdyolo.datasets.view import load_view
from kdyolo.engine import checkpoints
from kdyolo.engine.detector import Detector
from kdyolo.evaluation.splits import score
from kdyolo.progress import Silent
from kdyolo.storage import RunDir

CONDITIONS = {"all": 1.0, "eighth": 0.125, "bought": 0.125}
SAME_CONTROL = {"eighth": "bought", "bought": "eighth"}
"""Conditions that differ in the teacher alone: a control of the one is a control of the other."""
SEEDS = {"screening": (0,), "confirmation": (0, 1, 2)}
COLUMNS = (
    *("data", "condition", "arm", "seed", "val_mAP50_95", "test_mAP50", "test_mAP50_95", "images", "epochs"),
    *("optimizer_steps", "train_seconds", "kd_weight_last", "teacher", "finished", "weights"),
)


class Experiment:
    """One data set under one condition with one seed: a run whose student is trained again and again."""

    def __init__(self, given: argparse.Namespace, data: Path, condition: str, seed: int) -> None:
        self.given, self.data, self.condition, self.seed = given, data, condition, seed
        self.out: Path = given.out / data.name
        self.recipe = {
            "data.source": str(data),
            "split.repair": given.repair,
            "runtime.offline": True,
            "label_budgets": [],
            **{
                f"{role}.{key}": value
                for role in ("teacher", "student")
                for key, value in (
                    *(("epochs", given.epochs), ("imgsz", given.imgsz), ("batch", given.batch)),
                    ("from_scratch", True),
                )
            },
            "teacher.model": given.teacher,
        }

    def teacher(self, kind: str) -> Path:
        """The checkpoint of a kind of teacher; made if it is not there yet. The seed of all of them is 0."""
        labelled = "all" if self.condition == "bought" else self.condition
        if kind == "assistant":
            return self._assistant()
        run = RunDir(self.out / labelled / "teacher")
        settings = {**self.recipe, "split.labels_fraction": CONDITIONS[labelled]}
        api.split(self.data, run.root, settings=settings, resume=run.root.exists())
        if kind == "random":
            return self._random(load_view(run.stage("split")).names)
        api.train_teacher(run.root, settings=settings, resume=True)
        return run.stage("teacher") / "best.pt"

    def _random(self, names: Sequence[str]) -> Path:
        """A teacher with weights as they are drawn, seed 0."""
        path = self.out / "random.pt"
        if not path.is_file():
            checkpoints.save_untrained(self.given.teacher, names, 0, path)
        return path

    def _assistant(self) -> Path:
        """A yolov5s taught by the trained teacher, seed 0."""
        run = self._student_run("trained", RunDir(self.out / self.condition / "assistant"), 0)
        api.train_student(
            run.root,
            settings={**ARMS["online response"].settings, "student.model": "yolov5s"},
            resume=True,
        )
        return run.stage("student") / "best.pt"

    def _student_run(self, kind: str, run: RunDir, seed: int) -> RunDir:
        """A run with split, adopted teacher and its labels."""
        settings = {
            **self.recipe,
            "seed": seed,
            "split.labels_fraction": CONDITIONS[self.condition],
            "teacher.checkpoint": str(self.teacher(kind)),
            "pseudo.min_map50": 0.0,  # weak teachers are part of the question
        }
        ignored = ("model", "epochs", "batch", "from_scratch")
        settings = {key: value for key, value in settings.items() if key not in {f"teacher.{name}" for name in ignored}}
        if kind == "random":
            settings["pseudo.conf"] = 1e-5
        api.split(self.data, run.root, settings=settings, resume=run.root.exists())
        api.train_teacher(run.root, settings=settings, resume=True)
        api.pseudo_label(run.root, settings=settings, resume=True)
        return run

    def train(self, name: str) -> dict[str, Any]:
        """One row of the table."""
        arm = ARMS[name]
        run = self._student_run(
            arm.teacher, RunDir(self.out / self.condition / f"{arm.teacher}-{self.seed}"), self.seed
        )
        plain = {"distill.scheme": "labels", "student.labels": "gt" if self.condition == "all" else "gt+pool"}
        settings = {**plain, **arm.settings, "student.epochs": arm.longer * self.given.epochs}
        if arm.settings.get("distill.scheme") in ("cached", "online-teacher"):
            settings["student.labels"] = plain["student.labels"]
        elif arm.settings.get("distill.scheme") in ("self", "mutual"):
            settings["student.labels"] = "gt"
        record = api.train_student(run.root, baseline=arm.control, settings=settings, resume=True)
        row = {**self._measured(run, arm), "arm": name, "teacher": arm.teacher}
        facts = record.facts
        row |= {key: facts[key] for key in ("images", "epochs", "optimizer_steps", "train_seconds")}
        if self.given.remember and arm.settings.get("distill.scheme") == "online-teacher":
            row["train_seconds"] = ""
        return row

    def _measured(self, run: RunDir, arm: Arm) -> dict[str, Any]:
        folder = run.stage("baseline" if arm.control else "student")
        view, config = load_view(run.stage("split")), load_config(run.config)
        detector = Detector(folder / "best.pt", self.given.imgsz, config.runtime, view.names)
        figures = {}
        for split in ("val", "test"):
            figures[split] = score(detector, view.splits[split], view.names, Silent(), split)
        with (folder / "results.csv").open(encoding="utf-8") as file:
            last = list(csv.DictReader(file))[-1]
        return {
            "val_mAP50_95": figures["val"].mAP50_95,
            "test_mAP50": figures["test"].mAP50,
            "test_mAP50_95": figures["test"].mAP50_95,
            "kd_weight_last": last.get("kd_weight", ""),
            "weights": str(folder / "best.pt"),
        }


def wanted(given: argparse.Namespace) -> Iterator[tuple[Path, str, int, str]]:
    """What is to be trained: data set, condition, seed and arm."""
    for data in given.data:
        for condition in given.conditions:
            arms = given.arms or (ARMS if condition == "all" else POOLED)
            for seed in given.seeds or SEEDS[given.round]:
                for arm in arms:
                    if arm in ARMS:
                        yield data, condition, seed, arm


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, train what is missing, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("round", choices=SEEDS)
    parser.add_argument(
        "--data", type=Path, action="append", required=True, help="a data set, several times for several"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", action="append", choices=ARMS, help="only these; else all, or those for a pool")
    parser.add_argument("--conditions", action="append", choices=CONDITIONS, help="default: all three")
    parser.add_argument("--teacher", default="yolov5m")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--imgsz", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repair", action=argparse.BooleanOptionalAction, default=True, help="keep the given splits")
    parser.add_argument("--seeds", type=int, action="append", help="only these; else those of the round")
    parser.add_argument("--remember", type=Path, help="keep the teacher's answers in this folder, for the next arm")
    given = parser.parse_args(arguments)
    if given.remember:
        remember(given.remember)
    given.conditions = given.conditions or list(CONDITIONS)
    if given.round == "confirmation" and given.arms:
        given.arms = list(dict.fromkeys([CONTROL, *given.arms, "online native"]))
    table = given.out / "results.csv"
    given.out.mkdir(parents=True, exist_ok=True)
    done: dict[tuple[str, str, int, str], dict[str, Any]] = {}
    if table.is_file():
        with table.open(encoding="utf-8", newline="") as file:
            done = {(r["data"], r["condition"], int(r["seed"]), r["arm"]): r for r in csv.DictReader(file)}
    for data, condition, seed, name in wanted(given):
        if (data.name, condition, seed, name) in done:
            continue
        print(f"{data.name}, {condition}, seed {seed}: {name}", flush=True)
        same = SAME_CONTROL.get(condition, "")
        if ARMS[name].control and (data.name, same, seed, name) in done:
            row = done[data.name, same, seed, name] | {"condition": condition}
        else:
            row = Experiment(given, data, condition, seed).train(name)
            kept = given.out / "models" / f"{data.name}-{condition}-{seed}-{name.replace(' ', '-').replace(',', '')}.pt"
            kept.parent.mkdir(exist_ok=True)
            shutil.copyfile(row["weights"], kept)
            now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
            row |= {"data": data.name, "condition": condition, "seed": seed, "weights": kept.name, "finished": now}
        done[data.name, condition, seed, name] = row
        fresh = not table.is_file()
        with table.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        print(f"    test mAP50-95 {float(row['test_mAP50_95']):.4f}", flush=True)
        for old in (given.out / data.name).glob("*/*/old"):
            shutil.rmtree(old)


if __name__ == "__main__":
    main()
