"""Numbers as people read them. A missing number (None or NaN) is always ``n/a``, never 0."""

from __future__ import annotations

from typing import Any

from kdyolo.language import ENGLISH, Language, mark

NA = mark("n/a")
_WORDS = {True: mark("yes"), False: mark("no"), None: mark("none")}


def number(value: float | None, decimals: int = 0, language: Language = ENGLISH) -> str:
    """Fixed decimals, commas between thousands: ``1,392.4``."""
    return language.word(NA) if value is None or value != value else language.digits(f"{value:,.{decimals}f}")


def fraction(value: float | None, language: Language = ENGLISH) -> str:
    """A score in [0, 1] with three decimals, the precision at which two models are told apart."""
    return number(value, 3, language)


def percent(value: float | None, language: Language = ENGLISH) -> str:
    """A share as a whole percentage: ``93 %``."""
    return language.word(NA) if value is None else f"{number(100 * value, 0, language)} %"


def points(value: float | None, language: Language = ENGLISH) -> str:
    """A score in [0, 1] in points of a hundred: ``41.2``."""
    return language.word(NA) if value is None else number(100 * value, 1, language)


def signed(value: float, decimals: int = 2, language: Language = ENGLISH) -> str:
    """A difference with its sign, never a negative zero: ``+0.50``."""
    return language.digits(f"{round(value, decimals) + 0.0:+.{decimals}f}")


def ratio(value: float | None, language: Language = ENGLISH) -> str:
    """How many times as much: ``7.4×``, ``38×``."""
    return language.word(NA) if value is None else f"{number(value, 1 if value < 9.95 else 0, language)}×"


def millions(value: float | None, language: Language = ENGLISH) -> str:
    """A count in millions: ``2.5 M``."""
    return language.word(NA) if value is None else f"{number(value / 1e6, 1, language)} M"


def duration(seconds: float | None, language: Language = ENGLISH) -> str:
    """Seconds in the two largest units: ``1 h 47 min``, ``5 min 2 s``, ``42 s``."""
    if seconds is None or seconds != seconds:
        return language.word(NA)
    if seconds < 10:
        return language.digits(f"{seconds:.1f} s")
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(whole / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def plain(value: Any, language: Language = ENGLISH) -> str:
    """Any fact as short text: whole numbers with commas, others with four digits, lists joined."""
    if value is None:
        return language.word(NA)
    if isinstance(value, bool):
        return language.word(_WORDS[value])
    if isinstance(value, int):
        return number(value, 0, language)
    if isinstance(value, float):
        if value != value or abs(value) >= 1000:
            return number(value, 0, language)
        return language.digits(f"{value:,.4g}")
    none = language.word(_WORDS[None])
    if isinstance(value, list | tuple):
        return ", ".join(plain(item, language) for item in value) or none
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(item, language)}" for key, item in value.items()) or none
    return str(value)


def shorten(text: str, length: int) -> str:
    """At most `length` characters, the last an ellipsis where something was cut."""
    return text if len(text) <= length else text[: length - 1] + "…"
