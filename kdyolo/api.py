"""The Python API: one function per command, with the same meaning and the same errors (`kdyolo.errors`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from kdyolo.config import Config, load_config
from kdyolo.errors import ConfigError, RunExistsError, StageError
from kdyolo.language import Lang
from kdyolo.pipeline import chain, check_gates, execute, resolve
from kdyolo.progress import Progress, Silent
from kdyolo.storage import RunDir, StageRecord, free_name, write_text

DEMO_PRESET = Path(__file__).with_name("presets") / "demo.yaml"


def run(
    source: str | Path | None = None,
    run: str | Path = "runs/run",
    *,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run the whole chain; what is finished and unchanged is skipped.

    Args:
        source: Data set: a folder or a data.yaml. None: that of the existing run.
        run: Run directory. An existing run keeps its settings where the arguments say nothing else.
        config: YAML file of settings.
        settings: Dotted key -> value, for example ``{"student.epochs": 50}``; wins over `config`.
        resume: Redo finished stages whose settings, data or packages changed.
        force: Move an old run aside and start anew.
        progress: Whom to tell; nobody by default.

    Returns:
        What ``report/summary.json`` says.

    Raises:
        KdyoloError: See `kdyolo.errors`.
    """
    return _chain(source, run, config, settings, resume, force, progress)


def audit(
    source: str | Path,
    *,
    html: str | Path | None = None,
    everything: bool = False,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Check a data set as it is, its own splits included, and change nothing in it.

    Args:
        source: Data set: a folder or a data.yaml.
        html: Write a page with pictures of what was found to this file.
        everything: List every finding, not the first 1000 of each kind.
        config: YAML file of settings.
        settings: Dotted key -> value, for example ``{"audit.min_side": 32}``; wins over `config`.
        progress: Whom to tell; nobody by default.

    Returns:
        What `kdyolo audit --json` prints, see `kdyolo.datasets.auditing.audit.summarise`. That the data set has faults
        is no exception: ``errors`` counts them.

    Raises:
        KdyoloError: The data set cannot be read at all, or the page cannot be written.
    """
    resolved = load_config(config, overrides={**(settings or {}), **_source(source)})
    return audit_with(resolved, html=None if html is None else Path(html), everything=everything, progress=progress)


def audit_with(
    config: Config, *, html: Path | None = None, everything: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """`audit` with resolved settings, whose ``data.source`` is the data set."""
    from kdyolo.datasets.auditing.audit import MAX_LISTED, summarise
    from kdyolo.datasets.auditing.checks import audit_dataset
    from kdyolo.datasets.auditing.remembered import summary
    from kdyolo.datasets.formats.detect import locate, read

    limit = None if everything else MAX_LISTED
    if config.data.source is None:
        raise ConfigError("No data set is given.", "Name its folder: `kdyolo audit FOLDER`.")
    if html is None:
        return summary(config.data.source, config, limit, progress or Silent())
    from kdyolo.report.audit_page import require_free, write_page

    require_free(html, locate(config.data.source, config.data)[0])
    dataset = read(config.data.source, config.data, config.audit)
    audit_dataset(dataset, config.audit, config.split.ratios, progress or Silent())
    write_page(dataset, config.audit, html)
    return summarise(dataset, limit)


def split(
    source: str | Path | None = None,
    run: str | Path = "runs/run",
    *,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> StageRecord:
    """Check a data set and divide it into train, val and test. Arguments and errors as for `run`."""
    values = {**(settings or {}), **_source(source)}
    return _stage("split", run, config, values, resume, force, progress)


def train_teacher(
    run: str | Path,
    *,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> StageRecord:
    """Train the large model, or adopt ``teacher.checkpoint``. Arguments and errors as for `run`."""
    return _stage("teacher", run, config, settings, resume, force, progress)


def pseudo_label(
    run: str | Path,
    *,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> StageRecord:
    """Let the teacher label the training images. With `force` even a weak one does. Else as for `run`."""
    return _stage("pseudo", run, config, settings, resume, force, progress)


def train_student(
    run: str | Path,
    *,
    baseline: bool = False,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> StageRecord:
    """Train the small model, or with `baseline` its control, which never meets the teacher. Else as for `run`."""
    return _stage("baseline" if baseline else "student", run, config, settings, resume, force, progress)


def compare(
    run: str | Path,
    *,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> StageRecord:
    """Measure all models on the test split and build the report. Arguments and errors as for `run`."""
    return _stage("compare", run, config, settings, resume, force, progress)


def build_report(
    run: str | Path, *, lang: Lang | None = None, pdf: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Build the report of a compared run anew, from its files alone.

    Args:
        run: Run directory.
        lang: Language of this build, ``en`` or ``pt``. None: that of the run's settings, which stay as they are.
        pdf: Also print the page to ``report/report.pdf`` with an installed browser, see `kdyolo.report.pdf`.
        progress: Whom to tell; nobody by default.

    Returns:
        What ``report/summary.json`` says, see `kdyolo.report.summary.Summary`.

    Raises:
        KdyoloError: The run is not compared yet, was changed since, or somebody is using it; or, with everything else
            written, no browser could print the page.
    """
    from kdyolo.pipeline.manifest import record_report
    from kdyolo.report.build import build
    from kdyolo.report.current import require_current

    folder = RunDir(run)
    folder.require_begun()
    with folder.locked((progress or Silent()).warn):
        config = load_config(folder.config)
        stages, spoken = chain(config), lang or config.report.lang
        require_current(folder, config, stages)
        record_report(folder, stages, build(folder, spoken), spoken)
        if pdf:
            from kdyolo.report.pdf import print_page

            print_page(folder.stage("report") / "report.html", folder.stage("report") / "report.pdf")
    return read_summary(folder)


def leaderboard(
    runs: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    force: bool = False,
    skip_unfinished: bool = False,
    lang: Lang | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Set compared runs side by side: which student is best, and which others may be as good.

    Args:
        runs: Run directories; one with label budgets stands for the runs of its budgets.
        out: Folder for ``leaderboard.html``, ``.csv``, ``.md`` and ``.json``. None: ``comparison`` beside the
            first run.
        force: Move a folder aside that holds something else.
        skip_unfinished: Show the others where a run is missing, unfinished or broken.
        lang: Language of ``leaderboard.html`` and ``.md``, ``en`` or ``pt``. None: English. The other two are for
            programs and in English.
        progress: Whom to tell; nobody by default.

    Returns:
        What ``leaderboard.json`` says, see `kdyolo.report.leaderboard.build`.

    Raises:
        KdyoloError: See there.
    """
    from kdyolo.report.leaderboard import build, default_folder

    paths = [Path(run) for run in runs]
    if not paths:
        raise ConfigError("No run is given.", "Name their folders: `kdyolo report runs/a runs/b`.")
    folder = default_folder(paths) if out is None else Path(out)
    options = {"force": force, "skip_unfinished": skip_unfinished}
    return build(paths, folder, chain, progress or Silent(), **options, lang=lang or "en")


def benchmark(
    models: Sequence[str | Path] = (),
    *,
    images: str | Path | None = None,
    run: str | Path | None = None,
    backends: Sequence[str] | None = None,
    imgsz: int | None = None,
    batches: Sequence[int] = (1, 4, 8),
    timed: int = 60,
    threads: int | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Time models in several inference engines, and measure again what accuracy each keeps.

    Args:
        models: Checkpoints; with `run` also ``teacher``, ``student`` or ``control``. None: all models of the run.
        images: Folder of images to time. None: the run's test images.
        run: Run whose test split accuracy is measured on, and whose training images int8 is calibrated on.
        backends: Keys of `kdyolo.engine.export.BACKENDS`. None: the usual ones, as far as they are installed.
        imgsz: Long side images are resized to (px). None: what the run's models were trained at; 640 for a file.
        batches: Images a batch, for the throughput.
        timed: Images timed one at a time.
        threads: CPU threads of every backend. None: all physical cores.
        device: auto, cpu, cuda or a CUDA index, for the backends that can choose.
        out: New folder for ``benchmark.json`` and ``benchmark.csv``.
        progress: Whom to tell; nobody by default.

    Returns:
        What `kdyolo benchmark --json` prints: ``rows``, one for each model and backend, and the conditions, see
        `kdyolo.evaluation.benchmark.benchmark`; ``skipped``, ``failed`` and ``warnings``.

    Raises:
        KdyoloError: A model, a package or the images are not there, or `out` holds an earlier benchmark.
    """
    from kdyolo.report.benchmark import require_free, write
    from kdyolo.stages.benchmark import benchmark as measure

    if out is not None:
        require_free(Path(out))
    runtime = load_config(overrides={"runtime.threads": threads, "runtime.device": device}).runtime
    folder, shown = None if run is None else RunDir(run), None if images is None else Path(images)
    result = measure(models, shown, folder, backends, imgsz, batches, timed, runtime, progress or Silent())
    if out is not None:
        write(result, Path(out))
    return result


def demo(
    run: str | Path = "runs/demo",
    *,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Draw the demo data set beside the run and run the chain on it. Arguments and errors as for `run`."""
    return _chain(demo_data(RunDir(run)), run, config, settings, resume, force, progress, DEMO_PRESET)


def convert(
    source: str | Path,
    to: str,
    out: str | Path,
    *,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a data set in another format, into a new folder.

    Args:
        source: Data set: a folder or a data.yaml.
        to: ``yolo``, ``coco``, ``voc``, ``label-studio`` or ``cvat``.
        out: The new folder.
        config: YAML file of settings; ``data`` and ``audit`` count.
        settings: Dotted key -> value, for example ``{"data.format": "coco"}``; wins over `config`.
        force: Move an existing `out` aside.
        progress: Whom to tell; nobody by default.

    Returns:
        What was written, see `kdyolo.datasets.formats.convert.convert`.

    Raises:
        KdyoloError: See there.
    """
    from kdyolo.datasets.formats.convert import convert

    resolved = load_config(config, overrides=settings)
    return convert(Path(source), to, Path(out), resolved.data, resolved.audit, progress or Silent(), force)


def export_labels(
    run: str | Path,
    to: str,
    out: str | Path,
    *,
    split: Literal["train", "pool", "all"] = "all",
    all_scores: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a run's pseudo-labels with their scores, to be reviewed or used elsewhere.

    Args:
        run: Run directory, as far as its pseudo-labels.
        to: ``label-studio``, ``cvat``, ``coco`` or ``yolo``.
        out: The new folder.
        split: The training images, the pool, or all.
        all_scores: Also the boxes whose score was too low to become a label.
        force: Move an existing `out` aside.
        progress: Whom to tell; nobody by default.

    Returns:
        What was written, see `kdyolo.pseudo.export.export`.

    Raises:
        KdyoloError: See there.
    """
    from kdyolo.pseudo.export import export

    return export(RunDir(run), to, Path(out), split, progress or Silent(), all_scores=all_scores, force=force)


def import_labels(
    source: str | Path,
    images: str | Path,
    out: str | Path,
    *,
    names: Sequence[str] | None = None,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Make a YOLO data set of annotations that were reviewed in Label Studio or CVAT.

    Args:
        source: What was exported there: a json, an xml, or their folder.
        images: The folder of the images.
        out: The new folder; `split` takes it.
        names: Class names in the order of their ids; None takes those of the export.
        config: YAML file of settings; ``data`` and ``audit`` count.
        settings: Dotted key -> value; wins over `config`.
        force: Move an existing `out` aside.
        progress: Whom to tell; nobody by default.

    Returns:
        What was written, see `kdyolo.datasets.formats.convert.take_back`.

    Raises:
        KdyoloError: See there.
    """
    from kdyolo.datasets.formats.convert import take_back

    resolved = load_config(config, overrides=settings)
    paths = Path(source), Path(images), Path(out)
    return take_back(*paths, resolved.data, resolved.audit, progress or Silent(), names=names, force=force)


def status(run: str | Path) -> dict[str, Any]:
    """How far a run is: what its stages found, who is working on it, its report and the next command.

    Raises:
        ConfigError: There is no run.
    """
    from kdyolo.pipeline.status import describe

    folder = RunDir(run)
    folder.require_begun()
    return describe(folder, chain(load_config(folder.config)))


def watch(run: str | Path) -> dict[str, Any]:
    """What a run is doing at this moment, from its files alone: state, stages, epochs and the time left.

    Returns:
        See `kdyolo.pipeline.frame.as_data`; ``state`` is ``missing`` where there is no run yet.

    Raises:
        ConfigError: The settings of the run cannot be read.
    """
    from kdyolo.pipeline.frame import as_data
    from kdyolo.pipeline.watching import look

    return as_data(look(RunDir(run)))


def preflight(
    run: str | Path,
    *,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Look whether the distillation of a run can work, and what it will take; the run is not touched.

    Args:
        run: Run directory, with labels of its teacher.
        config: YAML file of settings.
        settings: Dotted key -> value, for example ``{"distill.scheme": "cached"}``; wins over `config`.
        progress: Whom to tell.

    Returns:
        See `kdyolo.stages.preflight.preflight`.

    Raises:
        KdyoloError: It cannot work; the hint says what to do.
    """
    folder = RunDir(run)
    return preflight_with(folder, resolve(folder, file=config, overrides=settings), progress)


def preflight_with(run: RunDir, config: Config, progress: Progress | None = None) -> dict[str, Any]:
    """`preflight` with resolved settings."""
    from kdyolo.stages.base import StageContext
    from kdyolo.stages.preflight import preflight as look

    next(stage for stage in chain(config) if stage.name == "student").check(run, config)
    return look(StageContext(run, config, progress or Silent()))


def methods() -> list[dict[str, Any]]:
    """The distillation methods: ``name``, ``family``, ``paper``, ``formula`` and more, see `kdyolo.distill.info`."""
    from kdyolo.distill.registry import catalogue

    return [info.as_dict() for info in catalogue().values()]


def describe_method(name: str) -> dict[str, Any]:
    """One of `methods`.

    Raises:
        ConfigError: There is none of that name; the message names the nearest.
    """
    from kdyolo.distill.registry import describe

    return describe(name).as_dict()


def doctor() -> dict[str, Any]:
    """Facts about the installation and the machine; what is broken is listed under ``faults``."""
    from kdyolo.health import examine

    return examine()


def init(file: str | Path = "kdyolo.yaml", *, force: bool = False, progress: Progress | None = None) -> Path:
    """Write a settings file with every setting, its default and its meaning; returns its path.

    Args:
        file: The file.
        force: Move an existing one aside.
        progress: Whom to tell; nobody by default.

    Raises:
        RunExistsError: The file exists.
        EnvironmentFault: It cannot be written.
    """
    from kdyolo.template import settings_template

    path = Path(file)
    if path.exists():
        if not force:
            raise RunExistsError(f"{path} exists.", "--force moves it aside; or give another name.")
        aside = free_name(path)
        path.rename(aside)
        (progress or Silent()).note(f"The old file is now {aside}.")
    write_text(path, settings_template())
    return path


def demo_folder(run: RunDir) -> Path:
    """Where the demo data set of a run is, or will be."""
    return run.root.with_name(f"{run.root.name}-data")


def demo_data(run: RunDir) -> Path:
    """The demo data set of a run, drawn if it is not there yet. Errors as `kdyolo.datasets.demo_set.ensure`."""
    from kdyolo.datasets.demo_set import ensure

    return ensure(demo_folder(run))


def read_summary(run: RunDir) -> dict[str, Any]:
    """What ``report/summary.json`` says.

    Raises:
        StageError: There is no report, or it cannot be read.
    """
    try:
        data = json.loads((run.root / "report" / "summary.json").read_bytes())
    except (OSError, ValueError) as error:
        raise StageError(f"{run.root} has no readable report.", "`kdyolo compare` builds it anew.") from error
    if not isinstance(data, dict):
        raise StageError(f"The report of {run.root} is not one of ours.", "`kdyolo compare` builds it anew.")
    return data


def _source(source: str | Path | None) -> dict[str, Any]:
    return {} if source is None else {"data.source": Path(source)}


def _chain(
    source: str | Path | None,
    run: str | Path,
    config: Path | None,
    settings: Mapping[str, Any] | None,
    resume: bool,
    force: bool,
    progress: Progress | None,
    preset: Path | None = None,
) -> dict[str, Any]:
    folder = RunDir(run)
    values = {**(settings or {}), **_source(source)}
    resolved = resolve(folder, file=config, overrides=values, fresh=force and source is not None, preset=preset)
    execute(folder, resolved, chain(resolved), progress, resume=resume, force=force)
    check_gates(folder, resolved)
    return read_summary(folder)


def _stage(
    name: str,
    run: str | Path,
    config: Path | None,
    settings: Mapping[str, Any] | None,
    resume: bool,
    force: bool,
    progress: Progress | None,
) -> StageRecord:
    folder = RunDir(run)
    resolved = resolve(folder, file=config, overrides=settings)
    execute(folder, resolved, chain(resolved), progress, only=name, resume=resume, force=force)
    return folder.require(name)
