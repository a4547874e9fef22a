"""Numbers as people read them. A missing number (None or NaN) is always ``n/a``, never 0."""

from __future__ import annotations

from typing import Any

NA = "n/a"


def number(value: float | None, decimals: int = 0) -> str:
    """Fixed decimals, commas between thousands: ``1,392.4``."""
    return NA if value is None or value != value else f"{value:,.{decimals}f}"


def fraction(value: float | None) -> str:
    """A score in [0, 1] with three decimals, the precision at which two models are told apart."""
    return number(value, 3)


def percent(value: float | None) -> str:
    """A share as a whole percentage: ``93 %``."""
    return NA if value is None else f"{number(100 * value)} %"


def points(value: float | None) -> str:
    """A score in [0, 1] in points of a hundred: ``41.2``."""
    return NA if value is None else number(100 * value, 1)


def ratio(value: float | None) -> str:
    """How many times as much: ``7.4×``, ``38×``."""
    return NA if value is None else f"{number(value, 1 if value < 9.95 else 0)}×"


def millions(value: float | None) -> str:
    """A count in millions: ``2.5 M``."""
    return NA if value is None else f"{number(value / 1e6, 1)} M"


def duration(seconds: float | None) -> str:
    """Seconds in the two largest units: ``1 h 47 min``, ``5 min 2 s``, ``42 s``."""
    if seconds is None or seconds != seconds:
        return NA
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(whole / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def plain(value: Any) -> str:
    """Any fact as short text: whole numbers with commas, others with four digits, lists joined."""
    if value is None:
        return NA
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return number(value)
    if isinstance(value, float):
        return NA if value != value else f"{value:,.4g}" if abs(value) < 1000 else number(value)
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items()) or "none"
    return str(value)


def shorten(text: str, length: int) -> str:
    """At most `length` characters, the last an ellipsis where something was cut."""
    return text if len(text) <= length else text[: length - 1] + "…"
