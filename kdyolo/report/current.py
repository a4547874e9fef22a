"""Whether a comparison is still that of the models and settings which its run has now."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kdyolo.config import Config, stable_hash
from kdyolo.errors import DatasetError
from kdyolo.stages.base import Stage
from kdyolo.storage import RunDir, sha256_file


def require_current(run: RunDir, config: Config, stages: Sequence[Stage]) -> None:
    """Make sure that the comparison is of the models and settings that the run has now.

    Raises:
        DatasetError: A stage or a setting was changed since.
    """
    inputs = run.require("compare").inputs
    for stage in stages:
        record = run.record(stage.name)
        if record is None:
            continue
        made = stable_hash(record.outputs)
        # The chain of an assistant has settings of its own, made from those of the run.
        asked = {} if config.distill.assistant else json.loads(json.dumps(stage.settings(config), default=str))
        intact = record.status == "done" and inputs.get(f"stage:{stage.name}", made) == made
        if not intact or _contradict(asked, record.settings):
            raise DatasetError(
                f"'{stage.name}' of {run.root} was changed after its models were compared.",
                f"Bring it up to date: `kdyolo run --run {run.shown} --resume`.",
            )
        epochs = f"{stage.name}/results.csv"
        made_then = record.outputs.get(epochs)
        if made_then and not ((run.root / epochs).is_file() and sha256_file(run.root / epochs) == made_then):
            raise DatasetError(
                f"{run.root / epochs} was changed or lost since the training.",
                f"Put it back, or have the training redone: `kdyolo run --run {run.shown} --resume`.",
            )


def _contradict(now: Any, then: Any) -> bool:
    """Whether a setting that both have differs; those that one version of kdyolo had and another has not are passed."""
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        return any(_contradict(now[key], then[key]) for key in now.keys() & then.keys())
    return bool(now != then)
