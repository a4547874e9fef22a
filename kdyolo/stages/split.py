"""Stage `split`: check the user's data set and build the run's own clean train / val / test view of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kdyolo.config import Config, SplitSettings
from kdyolo.datasets.auditing.audit import write_audit
from kdyolo.datasets.auditing.checks import check_dataset, require_sound
from kdyolo.datasets.fingerprint import fingerprint as of_dataset
from kdyolo.datasets.formats.detect import locate, read
from kdyolo.datasets.sample import SPLITS, Dataset, Sample, printable
from kdyolo.datasets.splits.evenness import evenness
from kdyolo.datasets.splits.folds import FOLDED, divide, write_folds
from kdyolo.datasets.splits.group_rules import is_table
from kdyolo.datasets.splits.split_file import apply_split_file, require_unchanged
from kdyolo.datasets.splits.splitting import Division, split_dataset
from kdyolo.datasets.view import POOL, View, build_view, clear_view, dataset_sha256, load_view
from kdyolo.errors import ConfigError
from kdyolo.stages.base import Stage, StageContext, StageResult, fingerprint


def _settings(config: Config) -> dict[str, Any]:
    # Where the data lies decides nothing; what lies there is in `_inputs`.
    parts: dict[str, Any] = config.model_dump(
        mode="json", include={"data": {"format", "allow_outside"}, "audit": True, "split": True}
    )
    del parts["audit"]["cache"]
    parts["split"] |= {name: file.suffix for name, file in _tables(config).items()}
    return parts


def _tables(config: Config) -> dict[str, Path]:
    """Settings that name a table -> the table."""
    rule, given = config.split.group_by, config.split.from_file
    tables = {"group_by": Path(rule) if rule is not None and is_table(rule) else None, "from_file": given}
    return {name: file for name, file in tables.items() if file is not None}


def _inputs(config: Config) -> dict[str, str]:
    tables = {f"split.{name}": fingerprint(file, f"split.{name}") for name, file in _tables(config).items()}
    return {"source": of_dataset(_source(config), config.data)[0], **tables}


def _source(config: Config) -> Path:
    if config.data.source is None:
        raise ConfigError("No data set is given.", "Name its folder: `kdyolo split FOLDER --run RUN`.")
    return config.data.source


def split(context: StageContext) -> StageResult:
    """Read, check, divide, and write the view; the audit is written even where the data set fails it.

    Raises:
        ConfigError, DatasetError, UntrustedFileError: The data set cannot be used, and why.
        EnvironmentFault: The view cannot be written.
    """
    config, folder = context.config, context.run.stage("split")
    source = _source(config)
    root, _ = locate(source, config.data)
    if folder.resolve().is_relative_to(root) or root.is_relative_to(folder.resolve()):
        raise ConfigError(
            f"The run {context.run.root} and the data set {root} lie inside each other.", "Give --run another folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    clear_view(folder)
    dataset = read(source, config.data, config.audit)
    table = config.split.from_file
    hashes = apply_split_file(table, dataset) if table is not None else {}
    check_dataset(
        dataset,
        config.audit,
        context.progress,
        own_splits=config.split.keeps and not config.split.repair,
        near=config.split.near_duplicates,
    )
    try:
        require_sound(dataset, config.audit, folder / "audit.csv")
        if table is not None:
            require_unchanged(table, dataset, hashes)
        division = split_dataset(dataset, config.split)
    finally:
        audit_files = write_audit(dataset, folder)
    labelled = division.with_labels_on(config.split.labels_fraction, dataset.names, config.split.seed)
    outputs = build_view(folder, dataset.names, labelled.rows)
    even = evenness(division.parts, division.shares, dataset.names)
    facts = {**_facts(dataset, labelled.rows, source, config.split.seed), **even.facts()}
    if division.moves:
        facts["moved"] = {printable(move.sample.name): f"{move.origin} -> {move.target}" for move in division.moves}
    view = load_view(folder)
    if config.split.folds is not None:
        file, facts["folds"] = _folds(labelled, view, config.split)
        outputs.append(file)
    facts["dataset_sha256"] = dataset_sha256(view)
    context.progress.note("\n".join(even.lines()))
    return StageResult([*outputs, *audit_files], facts, _tell(facts, context))


def _folds(division: Division, view: View, split: SplitSettings) -> tuple[Path, dict[str, Any]]:
    """Divide train and val into folds; their table, and how even they are."""
    assert split.folds is not None
    groups = [group for name in FOLDED for group in division.parts[name]]
    shares = [1 / split.folds] * split.folds
    chosen = divide(groups, split.folds, split.repeats, split.seed, len(view.names))
    worst = 0.0
    for folds in chosen:
        parts = {str(i): [g for g, fold in zip(groups, folds, strict=True) if fold == i] for i in range(split.folds)}
        worst = max(worst, evenness(parts, shares, view.names).worst)
    file = write_folds(view, groups, chosen)
    return file, {"folds": split.folds, "repeats": split.repeats, "worst_deviation": worst}


def _facts(dataset: Dataset, rows: list[tuple[str, str, Sample]], source: Path, seed: int) -> dict[str, Any]:
    return {
        "source": str(source),
        "format": dataset.format,
        "seed": seed,
        "classes": list(dataset.names),
        "images": len(rows),
        "groups": len({group for _, group, _ in rows}),
        "quarantined": len(dataset.samples) - len(dataset.usable),
        "errors": sum(finding.severity == "error" for finding in dataset.findings),
        "warnings": sum(finding.severity == "warning" for finding in dataset.findings),
        "splits": {
            name: _split_facts(dataset.names, [sample for split_name, _, sample in rows if split_name == name])
            for name in SPLITS
        },
        "pool": sum(name == POOL for name, _, _ in rows),
    }


def _split_facts(names: tuple[str, ...], samples: list[Sample]) -> dict[str, Any]:
    counts = sum((np.bincount(s.cls, minlength=len(names)) for s in samples), np.zeros(len(names), dtype=np.int64))
    return {
        "images": len(samples),
        "boxes": int(counts.sum()),
        "background": sum(len(sample.cls) == 0 for sample in samples),
        "boxes_per_class": dict(zip(names, counts.tolist(), strict=True)),
    }


def _tell(facts: dict[str, Any], context: StageContext) -> str:
    """Warn of what deserves a look, and sum up in one line."""
    if facts["quarantined"] or facts["warnings"]:
        context.progress.warn(
            f"{facts['quarantined']} images were left out and there are {facts['warnings']} warnings: "
            f"see {context.run.stage('split') / 'audit.csv'}"
        )
    counts = " / ".join(str(facts["splits"][name]["images"]) for name in SPLITS)
    boxes = sum(facts["splits"][name]["boxes"] for name in SPLITS)
    moved = f"; images moved: {len(facts['moved'])}" if facts.get("moved") else ""
    pool = f" and {facts['pool']} unlabelled" if facts["pool"] else ""
    return (
        f"{counts} images (train / val / test){pool}, {boxes} boxes; the share of each of the {len(facts['classes'])} "
        f"classes is at most {100 * facts['worst_deviation']:.2g} % off the ideal{moved}"
    )


STAGE = Stage(
    name="split",
    command="split",
    needs=(),
    settings=_settings,
    inputs=_inputs,
    versions=(),
    work=split,
    sections=("data", "audit", "split"),
)
