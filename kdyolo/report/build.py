"""Builds the report of a compared run: ``report/`` with a page, Markdown, a model card, a summary and tables as CSV."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from kdyolo.language import Lang, Language, language
from kdyolo.report import markdown, tables
from kdyolo.report.html import page
from kdyolo.report.load import FOLDERS, Inputs, load
from kdyolo.report.model_card import model_card
from kdyolo.report.proof_tables import NAMES, proof_tables
from kdyolo.report.summary import summary
from kdyolo.storage import RunDir, storage_fault, write_json, write_text

_NEW = ".new-"
_TEXTS = ("report.html", "report.md", "model_card.md")
_TABLES = ("final.csv", "per_class.csv", *(f"epochs_{arm}.csv" for arm in FOLDERS), *NAMES)


def build(run: RunDir, lang: Lang = "en") -> list[Path]:
    """Write the report from the files of the run alone; the same files give the same report, byte for byte.

    What an earlier report had and this one has not is removed, a ``report.pdf`` of another page too.

    Args:
        run: A compared run.
        lang: Of ``report.html`` and ``report.md``; what is for programs and the model card are in English.

    Returns:
        The files written, all in ``report/``.

    Raises:
        DatasetError: The run is not compared yet, or its comparison was changed or cannot be read.
        EnvironmentFault: The disk is full or cannot be written.
    """
    inputs = load(run)
    folder = run.stage("report")
    result = summary(inputs)
    texts = _texts(inputs, language(lang))
    frames = _frames(inputs)
    written = {"summary.json", *frames, *texts}
    with _beside(folder) as fresh:  # if the disk is full, the old report stays whole
        write_json(fresh / "summary.json", result)
        for name, frame in frames.items():
            tables.write_csv(frame, fresh / name)
        for name, text in texts.items():
            write_text(fresh / name, text)
        if not _is_already(folder / "report.html", texts["report.html"]):
            (folder / "report.pdf").unlink(missing_ok=True)
        for name in sorted(written):
            os.replace(fresh / name, folder / name)
    for name in {*_TEXTS, *_TABLES} - written:
        (folder / name).unlink(missing_ok=True)
    return sorted(folder / name for name in written)


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A folder for files that are to replace those of another, on the same disk; gone in the end."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_NEW}*"):  # by a process that died
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_NEW, dir=folder) as fresh:
            yield Path(fresh)
    except OSError as error:
        raise storage_fault(error, folder) from error


def _texts(inputs: Inputs, spoken: Language) -> dict[str, str]:
    """File name -> content."""
    made = {
        "report.html": page(inputs, spoken),
        "report.md": markdown.report(inputs, spoken),
        "model_card.md": model_card(inputs),
    }
    return {name: text for name, text in made.items() if text is not None}


def _frames(inputs: Inputs) -> dict[str, pd.DataFrame]:
    """File name -> table."""
    frames = {"final.csv": tables.final_table(inputs), "per_class.csv": tables.class_table(inputs)}
    frames |= {f"epochs_{arm}.csv": tables.epoch_table(epochs) for arm, epochs in inputs.epochs.items()}
    return frames | proof_tables(inputs)


def _is_already(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode("utf-8", "surrogateescape")
