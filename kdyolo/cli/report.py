"""The command that builds a report anew from the files of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kdyolo.cli import options as opt
from kdyolo.cli.console import Console, open_console
from kdyolo.cli.leaderboard import several


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN...", parser=opt.path, show_default=False, help="Run directory; several stand side by side."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            parser=opt.path,
            rich_help_panel=opt.OUTPUT_PANEL,
            help="With several runs: folder for the leaderboard; by default comparison/ beside the first run.",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", rich_help_panel=opt.OUTPUT_PANEL, help="Move a folder aside that holds no leaderboard."
        ),
    ] = False,
    skip_unfinished: Annotated[
        bool,
        typer.Option(
            "--skip-unfinished", rich_help_panel=opt.OUTPUT_PANEL, help="Leave out runs that cannot be shown."
        ),
    ] = False,
    pdf: Annotated[
        bool,
        typer.Option(
            "--pdf", rich_help_panel=opt.OUTPUT_PANEL, help="Also print it to report.pdf, with an installed browser."
        ),
    ] = False,
    schema: Annotated[
        bool,
        typer.Option(
            "--schema", rich_help_panel=opt.OUTPUT_PANEL, help="Print the JSON schema of summary.json and do no more."
        ),
    ] = False,
    lang: opt.Lang = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Build the report of a compared run anew, or set several runs side by side in a leaderboard."""
    from kdyolo import api
    from kdyolo.errors import ConfigError

    console = open_console(json=json, quiet=quiet)
    if schema:
        from kdyolo.report.summary import schema_text

        typer.echo(schema_text(), nl=False)
        return
    if not runs:
        raise ConfigError("No run is given.", "Name its folder: `kdyolo report runs/first`.")
    if len(runs) > 1:
        if pdf:
            raise ConfigError("--pdf prints the report of one run.", "Name one, or leave --pdf out.")
        several(console, runs, out, force=force, skip_unfinished=skip_unfinished, lang=lang)
        return
    if out is not None or force or skip_unfinished:
        raise ConfigError(
            "--out, --force and --skip-unfinished are for several runs.", "Name more of them, or leave the flag out."
        )
    run = runs[0].absolute()
    summary = api.build_report(run, lang=lang, pdf=pdf, progress=console)
    folder = run / "report"
    files = {name: str(folder / name) for name in ("report.html", "report.md", "model_card.md", "report.pdf")}
    found = {name: path for name, path in files.items() if Path(path).is_file()}
    data = {"run": str(run), "report": files["report.html"], "files": found, "summary": summary}
    console.result(data, lambda: _render(console, data))


def _render(console: Console, data: dict[str, Any]) -> None:
    console.line(data["summary"].get("verdict", ""))
    for path in data["files"].values():
        console.line(f"Written: {path}")


def register(app: typer.Typer) -> None:
    """Put the command of this file into the app."""
    shown = (
        "kdyolo report runs/first",
        "kdyolo report runs/first --pdf",
        "kdyolo report runs/first --lang pt",
        "kdyolo report runs/first runs/second runs/third --out comparison",
        "kdyolo report runs/first runs/second --lang pt",
        "kdyolo report --schema",
    )
    more = "--pdf takes the first Chromium, Chrome or Edge that is installed; KDYOLO_BROWSER names another one."
    opt.add(app, report, shown, more)
