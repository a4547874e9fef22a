"""Everything a training needs to go on exactly where it was, in full precision.

Ultralytics' own checkpoints hold averaged weights and moments in half precision and go on from those.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ultralytics.utils.torch_utils import unwrap_model

from kdyolo.engine.checkpoints import DamagedFileError
from kdyolo.storage import atomic_path

if TYPE_CHECKING:
    from kdyolo.engine.trainer import Trainer

KEPT = 2
"""States on disk: that of the newest checkpoint, and of the one before it, should the newest be damaged."""


def begin_epoch(seed: int, epoch: int, attempt: int, loader: Any, rank: int = 0) -> None:
    """Give an epoch random numbers of its own, so that it is the same whether or not others came before.

    Args:
        seed: Of the training.
        epoch: Counted from 0.
        attempt: How often this epoch was given up before; another attempt draws other numbers.
        loader: The training loader; where it has processes of its own, those go on with theirs.
        rank: Of this process among those that train together: each augments differently.
    """
    drawn = int(np.random.SeedSequence([seed, epoch, attempt, *([rank] if rank else ())]).generate_state(1)[0])
    random.seed(drawn)
    np.random.seed(drawn)  # what ultralytics' augmentation draws from
    torch.manual_seed(drawn)
    if loader.generator is not None:
        loader.generator.manual_seed(drawn)
    if loader.num_workers == 0:
        loader.reset()
        _refill(loader.dataset)


def _refill(dataset: Any) -> None:
    """Images that mosaics are made of where not all are in memory: others than those that happened to come last."""
    if dataset.cache != "ram" and dataset.max_buffer_length:
        for held in dataset.buffer:
            dataset.ims[held] = None
        dataset.buffer = random.sample(range(dataset.ni), dataset.max_buffer_length - 1)


def save(trainer: Trainer, folder: Path) -> None:
    """Write the state after an epoch, and remove those older than the last but one."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        "model": unwrap_model(trainer.model).state_dict(),
        "ema": trainer.ema.ema.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "more": trainer.more_state(),
    }
    with atomic_path(_file(folder, trainer.epoch)) as temporary:
        torch.save(state, temporary)
    for file in folder.glob("state-*.pt"):
        if file not in [_file(folder, trainer.epoch - back) for back in range(KEPT)]:
            file.unlink()


def restore(trainer: Trainer, folder: Path, epoch: int) -> None:
    """Take back the state after `epoch`.

    Raises:
        DamagedFileError: There is none that can be read, or it is of another model.
    """
    file = _file(folder, epoch)
    try:
        state = torch.load(file, map_location=trainer.device, weights_only=True)
        unwrap_model(trainer.model).load_state_dict(state["model"])
        trainer.ema.ema.load_state_dict(state["ema"])
        trainer.optimizer.load_state_dict(state["optimizer"])
        trainer.scaler.load_state_dict(state["scaler"])
        trainer.restore_more(state["more"])
    except Exception as error:  # torch.load raises whatever a broken archive leads to
        raise DamagedFileError(f"{file} cannot be read: {error}.") from error


def _file(folder: Path, epoch: int) -> Path:
    return folder / f"state-{epoch}.pt"
