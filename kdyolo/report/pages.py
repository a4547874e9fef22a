"""The ground of every HTML page: templates that escape each text, filters that write numbers, and the one script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from functools import partial
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kdyolo.language import ENGLISH, Language
from kdyolo.report import numbers


def environment(language: Language = ENGLISH) -> Environment:
    """Templates of this package; escaping does not depend on their names (by default jinja2 looks for .html).

    A page extends ``base.html.j2``, whose content security policy lets the script of this package run and nothing else:
    no other script, no request. Its sentences are in `language`, and its filters write numbers so.
    """
    made = Environment(
        loader=PackageLoader("kdyolo.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.install_gettext_translations(language.translations, newstyle=True)  # type: ignore[attr-defined]
    made.filters |= filters(language)
    made.filters["css"] = lambda value: f"{value:.3f}"  # a style is written in English everywhere
    made.globals["language"] = language
    script = files("kdyolo.report").joinpath("templates/report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    made.globals["script"] = Markup(script)  # noqa: S704 - a file of this package
    made.globals["policy"] = (
        f"default-src 'none'; script-src 'sha256-{digest}'; img-src data:; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    )
    return made


def filters(language: Language) -> dict[str, Callable[..., str]]:
    """What writes numbers in a template."""
    names = ("number", "fraction", "percent", "points", "ratio", "millions", "duration", "plain")
    return {"shorten": numbers.shorten, **{name: partial(getattr(numbers, name), language=language) for name in names}}
