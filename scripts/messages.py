"""Bring the catalogues of the report's languages up to date with the sentences in the code: `make messages`.

New sentences appear with an empty translation, which `tests/report/test_language.py` finds; those that nobody says any
more are removed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import read_po, write_po

Keywords = dict[str, Any]
ROOT = Path(__file__).parents[1]
LOCALES = {"pt": "pt_BR"}
"""Language -> locale of its catalogue."""
_SAID: Keywords = {**DEFAULT_KEYWORDS, "say": None, "mark": None, "mark_plural": (1, 2)}
KEYWORDS: dict[str, Keywords] = {"report": _SAID, "evaluation": _SAID, "datasets/auditing": {"Kind": (3,)}}
"""Folder -> what marks a sentence there; the third argument of a `Kind` of finding is its title."""
METHODS = [("**.py", "python"), ("templates/**.j2", "jinja2")]
OPTIONS = {"templates/**.j2": {"newstyle_gettext": "true", "silent": "false"}}


def gather() -> Catalog:
    """Every sentence in the package, with the files that say it and no translation."""
    found = Catalog(project="kdyolo", charset="utf-8")
    for folder, keywords in KEYWORDS.items():
        for file, _, message, _, context in extract_from_dir(ROOT / "kdyolo" / folder, METHODS, OPTIONS, keywords):
            found.add(message, locations=[(f"{folder}/{Path(file).as_posix()}", 0)], context=context)
    return found


def catalogue(code: str) -> Path:
    """The file of a language."""
    return ROOT / "kdyolo" / "locale" / code / "LC_MESSAGES" / "kdyolo.po"


def update(code: str) -> Catalog:
    """The catalogue of a language with the sentences there are now."""
    with catalogue(code).open("rb") as file:
        known = read_po(file, locale=LOCALES[code])
    known.msgid_bugs_address, known.last_translator = "none", "the authors of kdyolo"
    known.revision_date = known.creation_date
    known.update(gather(), no_fuzzy_matching=True, update_creation_date=False)
    return known


def main() -> None:
    """Write every catalogue anew."""
    for code in LOCALES:
        updated = update(code)
        with catalogue(code).open("wb") as file:
            write_po(file, updated, width=110, sort_by_file=True, ignore_obsolete=True, include_lineno=False)
        left = [message.id for message in updated if message.id and not message.string]
        print(f"{code}: {len(updated)} sentences, {len(left)} without a translation")


if __name__ == "__main__":
    main()
