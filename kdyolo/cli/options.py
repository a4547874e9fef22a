"""Command-line flags used by more than one command, and the settings they stand for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from kdyolo.errors import ConfigError

RUN_PANEL = "Run directory"
SETTINGS_PANEL = "Settings"
DATA_PANEL = "Data"
TRAINING_PANEL = "Training"
LABELLING_PANEL = "Labelling"
OUTPUT_PANEL = "Output"


def path(text: str | Path) -> Path:
    """A path given on the command line; an empty one, often an unset shell variable, is not the working folder."""
    if not str(text).strip():
        raise typer.BadParameter("an empty path; is a variable in it not set?")
    return Path(text)


Source = Annotated[
    Path | None,
    typer.Argument(metavar="SRC", parser=path, help="Data set: a folder or a data.yaml. Left out: that of the run."),
]
Run = Annotated[
    Path, typer.Option("--run", metavar="DIR", parser=path, rich_help_panel=RUN_PANEL, help="Run directory.")
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        rich_help_panel=RUN_PANEL,
        help="Redo finished work whose settings, data or packages changed. Interrupted work goes on without it.",
    ),
]
Force = Annotated[
    bool, typer.Option("--force", rich_help_panel=RUN_PANEL, help="Move the old work aside and start anew.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", rich_help_panel=RUN_PANEL, help="Show what would be done; write nothing.")
]
File = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", rich_help_panel=SETTINGS_PANEL, help="YAML file of settings."),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("-S", "--set", metavar="KEY=VALUE", rich_help_panel=SETTINGS_PANEL, help="One setting; repeatable."),
]
Seed = Annotated[
    int | None,
    typer.Option(
        rich_help_panel=SETTINGS_PANEL,
        help="Seed of weights, shuffling and augmentation; not of the split (split.seed).",
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(
        metavar="N,N,...",
        rich_help_panel=SETTINGS_PANEL,
        help="Train student and control once with each of these seeds, so that chance can be told from gain.",
    ),
]
EqualCompute = Annotated[
    bool | None,
    typer.Option(
        "--equal-compute/--no-equal-compute",
        rich_help_panel=TRAINING_PANEL,
        help="Also train the control for longer, with all the computation that the distilled student took.",
    ),
]
SplitSeed = Annotated[
    int | None,
    typer.Option(
        "--seed", rich_help_panel=SETTINGS_PANEL, help="Seed of the split; the trainings have their own (seed)."
    ),
]
Offline = Annotated[
    bool | None, typer.Option("--offline", rich_help_panel=SETTINGS_PANEL, help="Never use the network.")
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16"] | None, typer.Option(rich_help_panel=SETTINGS_PANEL, help="Arithmetic of training.")
]
Device = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=SETTINGS_PANEL, help="auto, cpu, cuda, a CUDA index, or several that train together: 0,1."
    ),
]
Track = Annotated[
    list[str] | None,
    typer.Option(rich_help_panel=SETTINGS_PANEL, help="tensorboard, mlflow or wandb; repeatable."),
]
Ratios = Annotated[
    str | None, typer.Option(metavar="A,B,C", rich_help_panel=DATA_PANEL, help="Shares of train, val and test.")
]
KeepSplits = Annotated[
    bool | None, typer.Option("--keep-splits", rich_help_panel=DATA_PANEL, help="Keep the splits the data came with.")
]
SplitFile = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FILE",
        rich_help_panel=DATA_PANEL,
        help="Take the splits from a table with source and split, for example a run's splits.csv.",
    ),
]
Repair = Annotated[
    bool | None,
    typer.Option(
        "--repair",
        rich_help_panel=DATA_PANEL,
        help="Keep the splits that are given, and where they leak move the fewest images.",
    ),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX|CSV",
        rich_help_panel=DATA_PANEL,
        help="What keeps images together: a regular expression on names, or a .csv with file and group.",
    ),
]
NearDuplicates = Annotated[
    bool | None,
    typer.Option(
        rich_help_panel=DATA_PANEL, help="Keep resized, recompressed, brightened and mirrored copies together."
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(metavar="K", rich_help_panel=DATA_PANEL, help="Divide train and val into folds as well (folds.csv)."),
]
Repeats = Annotated[
    int | None, typer.Option(metavar="N", rich_help_panel=DATA_PANEL, help="Divide into folds so many times.")
]
AllowOutside = Annotated[
    bool | None,
    typer.Option(
        "--allow-outside",
        rich_help_panel=DATA_PANEL,
        help="Accept links and paths that lead out of the data set's folder.",
    ),
]
Format = Annotated[
    Literal["auto", "yolo", "voc", "coco", "csv", "label-studio", "cvat"] | None,
    typer.Option("--format", rich_help_panel=DATA_PANEL, help="How labels are written; auto looks for itself."),
]
Cache = Annotated[
    bool | None,
    typer.Option("--cache/--no-cache", rich_help_panel=DATA_PANEL, help="Remember checked images, or check all anew."),
]
LabelsFraction = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        rich_help_panel=DATA_PANEL,
        help="Share of training images that keep their labels; the rest is used as if unlabelled.",
    ),
]
Pool = Annotated[
    Path | None,
    typer.Option(
        "--pool",
        "--images",
        metavar="DIR",
        rich_help_panel=DATA_PANEL,
        help="Unlabelled images for the teacher to label as well; copies of val and test images are left out.",
    ),
]
Labels = Annotated[
    Literal["auto", "pseudo", "gt", "gt+pool", "gt+pseudo", "pool"] | None,
    typer.Option(rich_help_panel=TRAINING_PANEL, help="Which labels the student learns."),
]
Scheme = Annotated[
    Literal["labels", "cached", "online-teacher", "self", "mutual"] | None,
    typer.Option(rich_help_panel=TRAINING_PANEL, help="What the student hears of its teacher beside labels."),
]
MinEffect = Annotated[
    float | None,
    typer.Option(
        metavar="POINTS",
        rich_help_panel=SETTINGS_PANEL,
        help="Smallest gain of student over control that is worth having, in mAP50-95 points.",
    ),
]
Require = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GATE",
        rich_help_panel=SETTINGS_PANEL,
        help="Exit with 6 unless this holds: 'student.mAP50-95 >= 0.95 * teacher.mAP50-95', 'student.p95_ms <= 20'.",
    ),
]
DataFree = Annotated[
    bool,
    typer.Option(
        "--data-free",
        rich_help_panel=TRAINING_PANEL,
        help="The student sees no labelled image: only those of --pool, or without one images made from the teacher.",
    ),
]
Assistant = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        rich_help_panel=TRAINING_PANEL,
        help="A model between teacher and student: it learns from the one and teaches the other.",
    ),
]
SelfTeacher = Annotated[
    Literal["born-again", "ema", "deep"] | None,
    typer.Option("--self", rich_help_panel=TRAINING_PANEL, help="With --scheme self: which form of itself teaches."),
]
Generations = Annotated[
    int | None,
    typer.Option(rich_help_panel=TRAINING_PANEL, help="With --self born-again: how many students learn in a row."),
]
Method = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:W][+...]", rich_help_panel=TRAINING_PANEL, help="How it listens; see `kdyolo methods`."
    ),
]
KdWeight = Annotated[
    str | None,
    typer.Option(metavar="X|auto", rich_help_panel=TRAINING_PANEL, help="How loud the teacher is beside the labels."),
]
Model = Annotated[
    str | None, typer.Option(rich_help_panel=TRAINING_PANEL, help="yolov5n, yolov5s, yolov5m, yolov5l or yolov5x.")
]
Weights = Annotated[
    Path | None,
    typer.Option(metavar="FILE", rich_help_panel=TRAINING_PANEL, help="Start from this checkpoint."),
]
FromScratch = Annotated[
    bool | None,
    typer.Option("--from-scratch", rich_help_panel=TRAINING_PANEL, help="Start from random weights: no download."),
]
Teacher = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=TRAINING_PANEL,
        help="Adopt this trained teacher, train none; given several times, several speak as one.",
    ),
]
MapClasses = Annotated[
    str | None,
    typer.Option(
        metavar="A=B,...", rich_help_panel=TRAINING_PANEL, help="The adopted teacher's class names = the data set's."
    ),
]
Epochs = Annotated[int | None, typer.Option(rich_help_panel=TRAINING_PANEL, help="Passes over the training images.")]
Imgsz = Annotated[int | None, typer.Option(rich_help_panel=TRAINING_PANEL, help="Image size in pixels.")]
Batch = Annotated[int | None, typer.Option(rich_help_panel=TRAINING_PANEL, help="Images a step.")]
LANG = "Language of the report: en, or pt for Portuguese (Brazil)."
Lang = Annotated[Literal["en", "pt"] | None, typer.Option("--lang", rich_help_panel=OUTPUT_PANEL, help=LANG)]
Json = Annotated[bool, typer.Option("--json", rich_help_panel=OUTPUT_PANEL, help="Print one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", rich_help_panel=OUTPUT_PANEL, help="Show errors only.")]


def examples(*commands: str) -> str:
    """The head of a command's help."""
    return "[bold]Examples[/bold]\n\n" + "\n".join(f"$ {command}" for command in commands) + "\n\n"


def add(app: typer.Typer, command: Callable[..., None], shown: Sequence[str], more: str = "") -> None:
    """Put a command into the app; its help is `shown`, examples of use, then its docstring, then `more`."""
    name = command.__name__.rstrip("_").replace("_", "-")
    summary = (command.__doc__ or "").strip()
    app.command(name, help=examples(*shown) + summary + (f"\n\n{more}" if more else ""), short_help=summary)(command)


def runtime(offline: bool | None, precision: str | None, device: str | None, track: list[str] | None) -> dict[str, Any]:
    """The flags about the machine as settings."""
    return {
        "runtime.offline": offline,
        "runtime.precision": precision,
        "runtime.device": device,
        "runtime.track": track or None,
    }


DATA_FREE_IMAGES = 256


def data_free(wanted: bool, pool: Path | None) -> dict[str, Any]:
    """The settings of a distillation without data."""
    if not wanted:
        return {}
    return {"student.labels": "pool", **({} if pool else {"pseudo.synthetic": DATA_FREE_IMAGES})}


def proving(min_effect: float | None, require: list[str] | None) -> dict[str, Any]:
    """The flags about what a comparison must show, as settings."""
    return {"compare.min_effect": min_effect, "compare.require": require or None}


def adopting(teacher: list[Path] | None) -> dict[str, Any]:
    """The teachers to adopt, as settings."""
    return {"teacher.checkpoint": teacher[0], "teacher.more": teacher[1:]} if teacher else {}


def distilling(
    scheme: str | None, self_teacher: str | None, generations: int | None, method: str | None, kd_weight: str | None
) -> dict[str, Any]:
    """The flags about what the student hears of its teacher, as settings."""
    return {
        "distill.scheme": scheme,
        "distill.self_teacher": self_teacher,
        "distill.generations": generations,
        "distill.method": method,
        "distill.weight": kd_weight,
    }


def splitting(
    keep_splits: bool | None,
    from_file: Path | None,
    repair: bool | None,
    group_by: str | None,
    near_duplicates: bool | None,
) -> dict[str, Any]:
    """The flags about what is kept together and which splits are kept, as settings."""
    return {
        "split.keep_splits": keep_splits,
        "split.from_file": from_file,
        "split.repair": repair,
        "split.group_by": group_by,
        "split.near_duplicates": near_duplicates,
    }


def default_run(source: Path | None, config: Path | None = None) -> Path:
    """``runs/<name of the data set>``; the data set is `source`, or what the settings file `config` names.

    Raises:
        ConfigError: There is no data set to name it after, or the settings file cannot be read.
    """
    if source is None and config is not None:
        from kdyolo.config import load_config

        source = load_config(config).data.source
    if source is None:
        raise ConfigError("Neither a data set nor a run is given.", "`kdyolo run DATASET`, or `kdyolo run --run DIR`.")
    full = source.absolute()
    return Path("runs") / (full.parent.name if full.suffix in (".yaml", ".yml") else full.name)


def parse_ratios(text: str | None) -> list[float] | None:
    """'0.7,0.15,0.15' as three numbers.

    Raises:
        ConfigError: It is something else.
    """
    if text is None:
        return None
    try:
        ratios = [float(part) for part in text.split(",")]
    except ValueError:
        ratios = []
    if len(ratios) != 3:
        raise ConfigError(f"--ratios {text!r} is not three numbers.", "For example: --ratios 0.7,0.15,0.15")
    return ratios


def parse_seeds(text: str | None, seed: int | None) -> dict[str, Any]:
    """'0,1,2' as settings: the first is the run's own seed, which the teacher has too.

    Raises:
        ConfigError: It is something else, or a single seed is given as well.
    """
    if text is None:
        return {"seed": seed}
    if seed is not None:
        raise ConfigError("--seed and --seeds exclude each other.", "The first of --seeds is the run's own.")
    try:
        first, *more = (int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--seeds {text!r} is not a list of numbers.", "For example: --seeds 0,1,2") from None
    return {"seed": first, "more_seeds": more}


def parse_shares(text: str | None) -> list[float] | None:
    """'0.125,0.25,0.5,1' as numbers.

    Raises:
        ConfigError: It is something else.
    """
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(
            f"--label-budget {text!r} is not a list of shares.", "For example: --label-budget 0.125,0.25,0.5,1"
        ) from None


def parse_conf(text: str | None) -> float | dict[str, float] | None:
    """'0.4', or 'early_blight=0.4,leaf_mold=0.3', as a number or a number per class.

    Raises:
        ConfigError: It is something else.
    """
    if text is None:
        return None
    try:
        if "=" not in text:
            return float(text)
        pairs = [part.rpartition("=") for part in text.split(",")]
        return {name.strip(): float(value) for name, _, value in pairs if name.strip() or value}
    except ValueError:
        raise ConfigError(
            f"--conf {text!r} is neither a number nor class=number pairs.",
            "For example: --conf 0.4, or --conf early_blight=0.4,leaf_mold=0.3",
        ) from None


def parse_classes(text: str | None) -> dict[str, str] | None:
    """'blight=early_blight,mold=leaf_mold' as teacher name -> data set name.

    Raises:
        ConfigError: It is something else.
    """
    if text is None:
        return None
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(separator and theirs.strip() and ours.strip() for theirs, separator, ours in pairs):
        raise ConfigError(
            f"--map-classes {text!r} is not made of teacher=dataset pairs.",
            "For example: --map-classes blight=early_blight,mold=leaf_mold",
        )
    return {theirs.strip(): ours.strip() for theirs, _, ours in pairs}


def training(
    role: str,
    model: str | None,
    weights: Path | None,
    from_scratch: bool | None,
    epochs: int | None,
    imgsz: int | None,
    batch: int | None,
) -> dict[str, Any]:
    """The flags about one training as settings of `role`, teacher or student."""
    values = {
        "model": model,
        "weights": weights,
        # A checkpoint to start from takes back an earlier --from-scratch of the same run.
        "from_scratch": False if weights and not from_scratch else from_scratch,
        "epochs": epochs,
        "imgsz": imgsz,
        "batch": batch,
    }
    return {f"{role}.{name}": value for name, value in values.items()}


def for_both(**values: Any) -> dict[str, Any]:
    """Each value as a setting of the teacher and of the student."""
    return {f"{role}.{name}": value for name, value in values.items() for role in ("teacher", "student")}
