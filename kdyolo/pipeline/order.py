"""Which stages there are, and which of them one stage builds on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from kdyolo.config import Config
from kdyolo.errors import ConfigError
from kdyolo.stages.base import Stage


def chain(config: Config | None = None) -> tuple[Stage, ...]:
    """The stages that settings ask for, in the order they run; None: those of the defaults.

    Imported here and not above, so that looking at a run stays quick.
    """
    from kdyolo.stages import compare, pseudo_label, split, train_student, train_teacher

    longer = (train_student.LONGER,) if config is not None and config.equal_compute else ()
    return (
        split.STAGE,
        train_teacher.STAGE,
        pseudo_label.STAGE,
        train_student.BASELINE,  # before the student, which is told if its teacher is no better
        train_student.STAGE,
        *longer,
        dataclasses.replace(compare.STAGE, needs=(*compare.STAGE.needs, *(stage.name for stage in longer))),
    )


def ancestors(stages: Sequence[Stage], name: str) -> tuple[Stage, ...]:
    """The stages that `name` needs, directly or through others, in the order of the chain.

    Raises:
        ConfigError: There is no stage of that name.
    """
    by_name = {stage.name: stage for stage in stages}
    if name not in by_name:
        raise ConfigError(f"There is no stage '{name}'.", f"Stages: {', '.join(by_name)}.")
    wanted, queue = set[str](), [*by_name[name].needs]
    while queue:
        need = queue.pop()
        if need not in wanted:
            wanted.add(need)
            queue += by_name[need].needs
    return tuple(stage for stage in stages if stage.name in wanted)
