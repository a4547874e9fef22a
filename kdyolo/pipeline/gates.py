"""What was required of a comparison, checked when it is there."""

from __future__ import annotations

import json

from kdyolo.config import Config
from kdyolo.errors import GateMissed
from kdyolo.gates import Gate
from kdyolo.pipeline.budgets import parts
from kdyolo.storage import RunDir


def check_gates(run: RunDir, config: Config) -> None:
    """Raise if a finished run, or one of its label budgets, misses what ``compare.require`` asks for.

    Raises:
        GateMissed: All that do not hold are named, with what was found.
    """
    missed = []
    for one, settings in parts(run, config) if config.compare.require else ():
        results = json.loads((one.stage("compare") / "results.json").read_text(encoding="utf-8"))
        failures = [Gate.parse(text).failure(results["arms"]) for text in settings.compare.require]
        where = f"{one.root.name}: " if config.label_budgets else ""
        missed += [f"{where}{failure}" for failure in failures if failure]
    if missed:
        count = f"{len(missed)} of {len(config.compare.require)} requirements"
        raise GateMissed(
            f"{count if not config.label_budgets else len(missed)} not met: {'; '.join(missed)}.",
            "The run is finished and its report is built; to ask for something else: --require, or "
            "-S compare.require=[]",
        )
