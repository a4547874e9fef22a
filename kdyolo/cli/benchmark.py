"""The command that times models in several inference engines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kdyolo.cli import options as opt
from kdyolo.cli.console import Console, open_console

BENCHMARK_PANEL = "Benchmark"


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise typer.BadParameter(f"'{text}' is no list of whole numbers such as 1,4,8") from error


def benchmark(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL...", help="Checkpoints; with --run also teacher, student, control. Left out: all of the run."
        ),
    ] = None,
    *,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", metavar="DIR", parser=opt.path, rich_help_panel=BENCHMARK_PANEL, help="Images to time."
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="DIR",
            parser=opt.path,
            rich_help_panel=BENCHMARK_PANEL,
            help="Run whose test images are timed and measured on, and whose training images int8 is calibrated on.",
        ),
    ] = None,
    backends: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            rich_help_panel=BENCHMARK_PANEL,
            help="torch-fp32, torch, onnx, openvino, openvino-bf16, openvino-int8, torchscript, tensorrt.",
        ),
    ] = None,
    imgsz: Annotated[
        int | None,
        typer.Option(rich_help_panel=BENCHMARK_PANEL, help="Image size in pixels; by default that of the training."),
    ] = None,
    batch: Annotated[
        str, typer.Option(metavar="A,B,...", rich_help_panel=BENCHMARK_PANEL, help="Images a batch.")
    ] = "1,4,8",
    timed: Annotated[
        int, typer.Option(min=1, rich_help_panel=BENCHMARK_PANEL, help="Images timed in each round.")
    ] = 60,
    threads: Annotated[
        int | None,
        typer.Option(min=1, rich_help_panel=BENCHMARK_PANEL, help="CPU threads; by default all physical cores."),
    ] = None,
    device: opt.Device = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", parser=opt.path, rich_help_panel=opt.OUTPUT_PANEL, help="Also write the figures there."
        ),
    ] = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Time models in several inference engines on real images, and measure again what accuracy each keeps."""
    from kdyolo import api

    console = open_console(json=json, quiet=quiet)
    names = None if backends is None else [name.strip() for name in backends.split(",") if name.strip()]
    result = api.benchmark(
        models or (),
        images=images,
        run=run,
        backends=names,
        imgsz=imgsz,
        batches=_numbers(batch),
        timed=timed,
        threads=threads,
        device=device or "auto",
        out=out,
        progress=console,
    )
    console.result(result, lambda: _render(console, result))


def _render(console: Console, result: dict[str, Any]) -> None:
    from kdyolo.report import benchmark as tables

    console.table("Milliseconds an image", tables.TIME_COLUMNS, tables.time_rows(result), right="4 5 6 7 8 9 10 11")
    columns = tables.cost_columns(result)
    right = " ".join(map(str, range(2, len(columns))))
    console.table("Throughput, cost and accuracy", columns, tables.cost_rows(result), right=right)
    for sentence in tables.conditions(result):
        console.line(sentence)


def register(app: typer.Typer) -> None:
    """Put the command of this file into the app."""
    shown = (
        "kdyolo benchmark --run runs/first",
        "kdyolo benchmark student --run runs/first --backends torch-fp32,openvino-int8 --out speed",
        "kdyolo benchmark best.pt --images photos --imgsz 640 --threads 2 --json",
    )
    more = (
        "Exports are made once and kept in kdyolo's cache. Run it on an idle machine: two runs then agree within 5 %."
    )
    opt.add(app, benchmark, shown, more)
