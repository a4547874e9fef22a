"""The command that says which distillation methods there are."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kdyolo.cli import options as opt
from kdyolo.cli.console import Console, open_console

_SHOWN = ("kdyolo methods", "kdyolo methods show cwd", "kdyolo methods --json")
_SUMMARY = "List the distillation methods: family, formula, paper, cost and when to use each."


def list_(context: typer.Context, json: opt.Json = False, quiet: opt.Quiet = False) -> None:
    """List all methods, unless a command of the group follows."""
    if context.invoked_subcommand is not None:
        return
    from kdyolo import api

    console = open_console(json=json, quiet=quiet)
    found = api.methods()
    console.result(found, lambda: _table(console, found))


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


def _table(console: Console, found: list[dict[str, Any]]) -> None:
    rows = [(m["name"], m["family"], f"{m['weight']:g}", "yes" if m["replayable"] else "no", m["use"]) for m in found]
    console.table("", ("method", "family", "weight", "cached", "when to use"), rows, right="2")
    console.line("weight: when none is given; cached: learns from stored predictions as well.")
    console.line("Sums: response+cwd:0.5. All about one: kdyolo methods show NAME")


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
