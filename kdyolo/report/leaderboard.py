"""Several runs side by side: ``leaderboard.html``, ``.csv``, ``.md`` and ``.json`` in a folder of their own."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kdyolo.errors import DatasetError, RunExistsError
from kdyolo.language import Lang, language
from kdyolo.progress import Progress
from kdyolo.report import leaderboard_page, leaderboard_words
from kdyolo.report.contestants import MACHINE, MEASURE, Chain, Contestant, LeftOut, gather
from kdyolo.report.load import FOLDERS, Arm
from kdyolo.report.ranking import Row, Table, rank
from kdyolo.storage import RunDir, free_name, storage_fault, write_json, write_text

KIND = "kdyolo leaderboard"


def default_folder(paths: Sequence[Path]) -> Path:
    """Where a comparison of runs goes if nobody says otherwise: ``comparison`` beside the first one."""
    first = paths[0].absolute()
    whole = first.parents[1] if first.parent == RunDir(first.parents[1]).budgets else first
    return whole.parent / "comparison"


def build(
    paths: Sequence[Path],
    out: Path,
    chain: Chain,
    progress: Progress,
    *,
    force: bool = False,
    skip_unfinished: bool = False,
    lang: Lang = "en",
) -> dict[str, Any]:
    """Rank runs and write the four files; the same runs give the same files.

    Args:
        paths: Run directories; one with label budgets stands for the runs of its budgets.
        out: Folder for the files. An earlier leaderboard there is replaced.
        chain: The stages that the settings of a run ask for.
        progress: Whom to tell.
        force: Move a folder aside that holds something else.
        skip_unfinished: Show the others where a run cannot be shown.
        lang: Of ``leaderboard.html`` and ``leaderboard.md``; what is for programs is in English.

    Returns:
        What ``leaderboard.json`` says.

    Raises:
        DatasetError: A run is missing, unfinished or broken and is not to be skipped, or none is left.
        RunExistsError: `out` holds something else.
        EnvironmentFault: The files cannot be written.
    """
    contestants, left_out = gather(paths, chain)
    if left_out and not (skip_unfinished and contestants):
        raise _refusal(left_out, len(contestants))
    _require_outside(out, paths)
    tables = rank(contestants, progress)
    data = as_data(tables, left_out, out)
    _make_room(out, force, progress)
    for run in left_out:
        progress.warn(f"{run.name} is left out: {run.message} {run.hint}")
    for warning in data["warnings"]:
        progress.warn(warning)
    write_text(out / "leaderboard.html", leaderboard_page.page(data, tables, language(lang)))
    write_text(out / "leaderboard.md", leaderboard_page.markdown(data, tables, language(lang)))
    write_text(out / "leaderboard.csv", leaderboard_page.csv(data))
    write_json(out / "leaderboard.json", data)
    return data


def _refusal(left_out: Sequence[LeftOut], shown: int) -> DatasetError:
    """All runs that do not do in one message, so that they can be mended in one go."""
    hint = "\n".join(f"{run.name}: {run.hint}" for run in left_out)
    if shown:
        hint += "\n--skip-unfinished shows the others."
    return DatasetError("\n".join(f"{run.name}: {run.message}" for run in left_out), hint)


def _require_outside(out: Path, paths: Sequence[Path]) -> None:
    """Make sure that no run is moved aside or written into.

    Raises:
        RunExistsError: The folder is, holds or lies in a run.
    """
    target = out.resolve()
    near = [path for path in (p.resolve() for p in paths) if path.is_relative_to(target) or target.is_relative_to(path)]
    near += [folder for folder in (target, *target.parents) if RunDir(folder).config.is_file()]
    if target.is_dir():
        near += [config.parent for depth in ("*", "*/*") for config in target.glob(f"{depth}/config.yaml")]
    if near:
        raise RunExistsError(
            f"{out} holds a run or lies in one: {near[0]}.", "Give --out a folder of its own; it may be a new one."
        )


def _make_room(out: Path, force: bool, progress: Progress) -> None:
    try:
        if out.exists() and not (out.is_dir() and (_is_ours(out) or not any(out.iterdir()))):
            if not force:
                raise RunExistsError(
                    f"{out} exists and is no leaderboard.",
                    "Give --out a new folder; or --force moves the old one aside.",
                )
            aside = free_name(out)
            out.rename(aside)
            progress.note(f"The old {out.name} is now {aside}.")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_fault(error, out) from error


def _is_ours(folder: Path) -> bool:
    try:
        data = json.loads((folder / "leaderboard.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and data.get("kind") == KIND


def as_data(tables: Sequence[Table], left_out: Sequence[LeftOut], out: Path) -> dict[str, Any]:
    """Everything as plain data; None is n/a."""
    return {
        "kind": KIND,
        "tables": [_table(table, out) for table in tables],
        "left_out": [vars(run) for run in left_out],
        "warnings": leaderboard_words.warnings(tables),
    }


def _table(table: Table, out: Path) -> dict[str, Any]:
    first = table.runs[0]
    measured = first.inputs.results.measured
    names = [row.name for row in table.rows]
    return {
        "test_sha256": first.test,
        "images": len(first.truth),
        "classes": list(first.inputs.results.classes),
        "measured": {name: measured.get(name) for name in MEASURE},
        "speed": {"comparable": not table.speed_differs, "why_not": _why_not(table), **_machine(table)},
        "rows": [_row(row, not table.speed_differs, out) for row in table.rows],
        "settings": {key: dict(zip(names, values, strict=True)) for key, values in table.settings.items()},
    }


def _why_not(table: Table) -> str | None:
    return leaderboard_words.speed(table.speed_differs) if table.speed_differs else None


def _machine(table: Table) -> dict[str, Any]:
    measured = table.runs[0].inputs.results.measured
    return {} if table.speed_differs else {name: measured.get(name) for name in MACHINE}


def _row(row: Row, same_speed: bool, out: Path) -> dict[str, Any]:
    student = row.student
    return {
        "rank": row.rank,
        "name": row.name,
        "label": row.label,
        "runs": [_run(run, out) for run in row.runs],
        "dataset_sha256": row.runs[0].dataset_sha256,
        "model": student.model,
        "scheme": student.scheme or "labels",
        "method": student.method if student.scheme else None,
        "labels": student.labels,
        "labels_fraction": row.runs[0].config.split.labels_fraction,
        "seeds": [seed for run in row.runs for seed in run.seeds],
        "mAP50_95": {arm: vars(row.scores[arm]) if arm in row.scores else None for arm in FOLDERS},
        "gain": row.gain or None,
        "verdict": row.verdict or None,
        "to_best": row.to_best or None,
        "standing": row.standing or None,
        "p50_ms": {arm: row.mean(arm, _p50) if same_speed else None for arm in FOLDERS},
        "size_mb": {arm: row.mean(arm, _size) for arm in FOLDERS},
        "train_seconds": {arm: row.mean(arm, lambda a: a.train_seconds) for arm in FOLDERS},
        "note": leaderboard_words.notes(row.notes) or None,
    }


def _p50(arm: Arm) -> float | None:
    return arm.latency_ms.p50


def _size(arm: Arm) -> float | None:
    return arm.size_mb


def _run(run: Contestant, out: Path) -> dict[str, Any]:
    page = run.run.stage("report") / "report.html"
    link = None
    if page.is_file():
        link = quote(Path(os.path.relpath(page, out.absolute())).as_posix())
    return {"name": run.name, "seeds": list(run.seeds), "report": link}
