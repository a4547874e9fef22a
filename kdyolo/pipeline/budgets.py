"""One chain for each label budget: how much distillation gains when few images are labelled."""

from __future__ import annotations

from collections.abc import Sequence

from kdyolo.config import Config
from kdyolo.errors import ConfigError
from kdyolo.pipeline.assistant import run_with_assistant
from kdyolo.pipeline.running import Outcome, set_run_aside, write_settings
from kdyolo.progress import Progress, Silent
from kdyolo.stages.base import Stage
from kdyolo.storage import RunDir


def parts(run: RunDir, config: Config, only: str | None = None, force: bool = False) -> list[tuple[RunDir, Config]]:
    """The chains a run is made of, each with its run directory and settings.

    One chain, in the run directory itself; or with label budgets one for each, smallest first, in
    ``<run>/budgets/<share>``.

    Args:
        run: The run directory; need not exist.
        config: Resolved settings.
        only: The single stage that is asked for, if any.
        force: The whole run is about to be moved aside, so what it holds now does not matter.

    Raises:
        ConfigError: One chain is asked for where budgets lie, budgets where one chain lies, or a single stage of them.
    """
    folder = run.budgets
    if not config.label_budgets:
        if folder.is_dir() and not force:
            raise ConfigError(
                f"{run.root} holds one chain for each label budget.",
                f"Name one of them, {RunDir(folder).shown}/..., or give another --run folder.",
            )
        return [(run, config)]
    shares = sorted(set(config.label_budgets))
    if only is not None:
        raise ConfigError(
            f"{run.root} holds one chain for each label budget; there is no single '{only}'.",
            f"Name one of them, for example --run {RunDir(folder / f'{shares[0]:g}').shown}",
        )
    if (run.root / "split").exists() and not force:
        raise ConfigError(f"{run.root} already holds a single run.", "Give the budgets another --run folder.")
    return [(RunDir(folder / f"{share:g}"), _with_share(config, share)) for share in shares]


def _with_share(config: Config, share: float) -> Config:
    child = config.model_copy(deep=True, update={"label_budgets": ()})
    child.split.labels_fraction = share
    return child


def execute(
    run: RunDir,
    config: Config,
    stages: Sequence[Stage],
    progress: Progress | None = None,
    *,
    only: str | None = None,
    resume: bool = False,
    force: bool = False,
) -> Outcome:
    """Bring a run up to date: its one chain, or that of each label budget and the report on them all.

    Arguments and errors as `run_chain`; `ConfigError` also as `parts`.
    """
    chains = parts(run, config, only, force)
    if not config.label_budgets:
        return run_with_assistant(run, config, stages, progress, only=only, resume=resume, force=force)
    progress = progress or Silent()
    if force:
        set_run_aside(run, progress)
    with run.locked(progress.warn):
        write_settings(run, config)
        total = Outcome()
        for child, settings in chains:
            progress.note(f"{100 * settings.split.labels_fraction:.4g} % of the labels, {child.shown}")
            outcome = run_with_assistant(child, settings, stages, progress, resume=resume)
            total.ran += [f"{child.root.name}/{stage}" for stage in outcome.ran]
            total.skipped += [f"{child.root.name}/{stage}" for stage in outcome.skipped]
        from kdyolo.report.budgets import build, is_current

        runs = [child for child, _ in chains]
        if not is_current(run, runs):
            build(run, runs)
            total.report = True
    return total
