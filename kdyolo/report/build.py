"""Builds the report of a compared run: ``report/`` with a page, Markdown, a model card, a summary and tables as CSV."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kdyolo.report import markdown, tables
from kdyolo.report.html import page
from kdyolo.report.load import FOLDERS, Inputs, load
from kdyolo.report.model_card import model_card
from kdyolo.report.proof_tables import NAMES, proof_tables
from kdyolo.report.summary import summary
from kdyolo.storage import RunDir, write_json, write_text

_TEXTS = ("report.html", "report.md", "model_card.md")
_TABLES = ("final.csv", "per_class.csv", *(f"epochs_{arm}.csv" for arm in FOLDERS), *NAMES)


def build(run: RunDir) -> list[Path]:
    """Write the report from the files of the run alone; the same files give the same report, byte for byte.

    What an earlier report had and this one has not is removed, a ``report.pdf`` of another page too.

    Returns:
        The files written, all in ``report/``.

    Raises:
        DatasetError: The run is not compared yet, or its comparison was changed or cannot be read.
        EnvironmentFault: The disk is full or cannot be written.
    """
    inputs = load(run)
    folder = run.stage("report")
    result = summary(inputs)
    texts = _texts(inputs)
    frames = _frames(inputs)
    if not _is_already(folder / "report.html", texts["report.html"]):
        (folder / "report.pdf").unlink(missing_ok=True)
    write_json(folder / "summary.json", result)
    for name, frame in frames.items():
        tables.write_csv(frame, folder / name)
    for name, text in texts.items():
        write_text(folder / name, text)
    written = {"summary.json", *frames, *texts}
    for name in {*_TEXTS, *_TABLES} - written:
        (folder / name).unlink(missing_ok=True)
    return sorted(folder / name for name in written)


def _texts(inputs: Inputs) -> dict[str, str]:
    """File name -> content."""
    made = {"report.html": page(inputs), "report.md": markdown.report(inputs), "model_card.md": model_card(inputs)}
    return {name: text for name, text in made.items() if text is not None}


def _frames(inputs: Inputs) -> dict[str, pd.DataFrame]:
    """File name -> table."""
    frames = {"final.csv": tables.final_table(inputs), "per_class.csv": tables.class_table(inputs)}
    frames |= {f"epochs_{arm}.csv": tables.epoch_table(epochs) for arm, epochs in inputs.epochs.items()}
    return frames | proof_tables(inputs)


def _is_already(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode("utf-8", "surrogateescape")
