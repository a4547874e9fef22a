"""The ground of every HTML page: templates that escape each text, and the filters that write numbers."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from kdyolo.report import numbers


def environment() -> Environment:
    """Templates of this package; escaping does not depend on their names (by default jinja2 looks for .html)."""
    made = Environment(
        loader=PackageLoader("kdyolo.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("number", "fraction", "percent", "points", "ratio", "millions", "duration", "plain", "shorten"):
        made.filters[name] = getattr(numbers, name)
    return made
