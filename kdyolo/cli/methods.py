"""The command that says which distillation methods there are."""

from __future__ import annotations

import textwrap
from itertools import groupby
from operator import itemgetter
from typing import Annotated, Any

import typer

from kdyolo.cli import options as opt
from kdyolo.cli.console import Console, open_console

_SHOWN = ("kdyolo methods", "kdyolo methods show cwd", "kdyolo methods --json")
_SUMMARY = "List the distillation methods: family, formula, paper, cost and when to use each."
_FAMILIES = {
    "response": "look at the head's outputs. They learn from stored predictions (cached) as well",
    "feature": "look at the maps that enter the head. The teacher must see every batch",
    "relation": "look at how objects, images or channels relate in those maps. The teacher must see every batch",
}


def list_(context: typer.Context, json: opt.Json = False, quiet: opt.Quiet = False) -> None:
    """List all methods, unless a command of the group follows."""
    if context.invoked_subcommand is not None:
        return
    from kdyolo import api

    console = open_console(json=json, quiet=quiet)
    found = api.methods()
    console.result(found, lambda: _list(console, found))


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Method, as the list names it.")],
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Say all about one distillation method."""
    from kdyolo import api

    console = open_console(json=json, quiet=quiet)
    info = api.describe_method(name)
    console.result(info, lambda: _describe(console, info))


def _list(console: Console, found: list[dict[str, Any]]) -> None:
    for family, members in groupby(found, itemgetter("family")):
        _wrapped(console, f"{family.upper()} methods {_FAMILIES[family]}.")
        console.line()
        for info in members:
            console.line(f"  {info['name']} (weight {info['weight']:g})")
            for what, key in (("Formula", "formula"), ("Paper", "paper"), ("Cost", "cost"), ("Use", "use")):
                _wrapped(console, info[key], f"    {what:8} ")
            console.line()
    _wrapped(console, "Weight: when none is given. Cost: of a training step, the teacher's forward pass not counted.")
    console.line("Sums: response+cwd:0.5. All about one: kdyolo methods show NAME")


def _wrapped(console: Console, text: str, head: str = "") -> None:
    """A text as wide as the terminal, its further lines below the first one's words."""
    width, below = max(40, console.stdout.width), " " * len(head)
    console.line(textwrap.fill(text, width, initial_indent=head, subsequent_indent=below, break_on_hyphens=False))


def _describe(console: Console, info: dict[str, Any]) -> None:
    teacher = "beside the student in each step, or its stored predictions" if info["replayable"] else "in each step"
    parts = " + ".join(f"{weight:g} {part}" for part, weight in info["parts"].items())
    console.line(f"{info['name']} ({info['family']})")
    for what, value in (
        ("Formula", info["formula"]),
        ("", info["equation"]),
        ("Parts", parts),
        ("Paper", info["paper"]),
        ("", info["url"]),
        ("Differs", info["differs"]),
        ("Cost", info["cost"]),
        ("Use", info["use"]),
        ("Weight", f"{info['weight']:g} when none is given"),
        ("Teacher", teacher),
        ("Needs", f"{info['min_classes']} classes" if info["min_classes"] > 1 else ""),
    ):
        if value:
            console.line(f"  {what:8} {value}")


def register(app: typer.Typer) -> None:
    """Put the commands of this file into the app, as `kdyolo methods ...`."""
    group = typer.Typer(invoke_without_command=True, rich_markup_mode="rich")
    group.callback()(list_)
    opt.add(group, show, ("kdyolo methods show response", "kdyolo methods show cwd --json"))
    app.add_typer(group, name="methods", help=opt.examples(*_SHOWN) + _SUMMARY, short_help=_SUMMARY)
