"""Texts from outside, made harmless for the programs that will show them."""

from __future__ import annotations

import re
from typing import Any

_ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)")


def neutralise(cell: Any) -> Any:
    """A text that a spreadsheet would run as a formula, with an apostrophe before it; anything else as it is.

    Blanks before the formula do not hide it. Source: OWASP, "CSV Injection".
    """
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip().startswith(("=", "+", "-", "@")) else cell


def without_escapes(text: str) -> str:
    """Text without the sequences that colour a terminal, move its cursor or set its title."""
    return _ESCAPE.sub("", text)
