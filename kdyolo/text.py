"""Texts from outside, made harmless for the programs that will show them."""

from __future__ import annotations

from typing import Any


def neutralise(cell: Any) -> Any:
    """A text that a spreadsheet would run as a formula, with an apostrophe before it; anything else as it is.

    Blanks before the formula do not hide it. Source: OWASP, "CSV Injection".
    """
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip().startswith(("=", "+", "-", "@")) else cell
