"""The ground of every HTML page: templates that escape each text, filters that write numbers, and the one script."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kdyolo.report import numbers


def environment() -> Environment:
    """Templates of this package; escaping does not depend on their names (by default jinja2 looks for .html).

    A page extends ``base.html.j2``, whose content security policy lets the script of this package run and nothing else:
    no other script, no request.
    """
    made = Environment(
        loader=PackageLoader("kdyolo.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("number", "fraction", "percent", "points", "ratio", "millions", "duration", "plain", "shorten"):
        made.filters[name] = getattr(numbers, name)
    script = files("kdyolo.report").joinpath("templates/report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    made.globals["script"] = Markup(script)  # noqa: S704 - a file of this package
    made.globals["policy"] = (
        f"default-src 'none'; script-src 'sha256-{digest}'; img-src data:; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    )
    return made
