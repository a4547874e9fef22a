"""The languages a report can be written in: their words, from a catalogue of English sentences, and their numbers."""

from __future__ import annotations

import functools
import gettext
import io
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

Lang = Literal["en", "pt"]

_LOCALES = {"pt": "pt_BR"}
"""Language -> the locale whose spelling and numbers it has."""


@dataclass(frozen=True)
class Language:
    """How texts and numbers are written. In sentences ``%(name)s`` stands for a value, and ``%%`` for a per cent sign.

    Attributes:
        code: As in the setting ``report.lang``.
        tag: Its name in HTML (BCP 47).
        decimal: The decimal mark.
        group: What stands between thousands.
        translations: English sentence -> sentence; those it does not have stay as they are.
    """

    code: str
    tag: str
    decimal: str
    group: str
    translations: gettext.NullTranslations

    def gettext(self, message: str, /, **values: object) -> str:
        """A sentence with its values."""
        return self.translations.gettext(message) % values

    def ngettext(self, singular: str, plural: str, number: int, /, **values: object) -> str:
        """A sentence whose form depends on a number."""
        return self.translations.ngettext(singular, plural, number) % values

    def word(self, text: str) -> str:
        """A word that may be one of ours, such as the name of a column; any other comes back as it is."""
        return self.translations.gettext(text) if text else text

    def digits(self, text: str) -> str:
        """A number as Python writes it, with the marks of this language: ``1,392.4`` is ``1.392,4`` in Portuguese."""
        return text.translate({ord(","): self.group, ord("."): self.decimal})


ENGLISH = Language("en", "en", ".", ",", gettext.NullTranslations())


def mark(message: str) -> str:
    """The message itself; says to those who gather messages that it will be translated."""
    return message


def mark_plural(singular: str, plural: str) -> tuple[str, str]:
    """The same for `Language.ngettext`."""
    return singular, plural


@functools.cache
def language(code: Lang = "en") -> Language:
    """The language of this code; only others than English read a catalogue.

    Raises:
        ValueError: There is none.
    """
    if code == "en":
        return ENGLISH
    if code not in _LOCALES:
        raise ValueError(f"no language {code!r}")
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po
    from babel.numbers import get_decimal_symbol, get_group_symbol

    locale = _LOCALES[code]
    compiled = io.BytesIO()
    with files("kdyolo").joinpath(f"locale/{code}/LC_MESSAGES/kdyolo.po").open("rb") as catalogue:
        write_mo(compiled, read_po(catalogue, locale=locale))
    compiled.seek(0)
    translations = gettext.GNUTranslations(compiled)
    return Language(code, locale.replace("_", "-"), get_decimal_symbol(locale), get_group_symbol(locale), translations)
