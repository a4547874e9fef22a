"""What the processes of one training do together. Each function leaves things as they are where there is only one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

_PATIENCE = timedelta(hours=3)  # as ultralytics; whoever watches the processes sees much earlier that one is gone


def size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process among them, from 0."""
    return distributed.get_rank() if size() > 1 else 0


def join(meeting: Path, number: int, count: int, device: str) -> None:
    """Meet the other processes of this machine, and wait for them.

    Args:
        meeting: A file that none of them has made yet, in a folder that is nobody else's.
        number: Of this process, from 0.
        count: How many there are.
        device: Its ``cpu`` or CUDA index.
    """
    backend = "gloo"
    if device != "cpu":
        torch.cuda.set_device(int(device))
        backend = "nccl" if distributed.is_nccl_available() else "gloo"
    distributed.init_process_group(
        backend, init_method=f"file://{meeting}", rank=number, world_size=count, timeout=_PATIENCE
    )


def leave() -> None:
    """Part from the other processes."""
    if size() > 1:
        distributed.destroy_process_group()


def wait() -> None:
    """Go on when all are here."""
    if size() > 1:
        distributed.barrier()


def wrap(model: nn.Module, device: torch.device) -> nn.Module:
    """A model whose gradients are averaged over the processes; it starts everywhere as in the first one.

    As ultralytics wraps it: layers need not take part in every step, and statistics of batches stay each process's own.
    """
    from ultralytics.utils.torch_utils import TORCH_2_13

    named: dict[str, Any] = {"forward_sync_buffers" if TORCH_2_13 else "broadcast_buffers": False}
    devices = None if device.type == "cpu" else [device.index]
    return nn.parallel.DistributedDataParallel(model, device_ids=devices, find_unused_parameters=True, **named)


def share_buffers(models: Iterable[nn.Module]) -> None:
    """Give all processes the first one's buffers: running statistics, which each has from its own images."""
    if size() > 1:
        for model in models:
            for buffer in model.buffers():
                distributed.broadcast(buffer, src=0)


def total(value: Tensor) -> Tensor:
    """The sum of a tensor over the processes, without a graph; not finite if it is not in any of them."""
    if size() > 1:
        value = value.detach().clone()
        distributed.all_reduce(value)
    return value


def mean(values: Sequence[float] | None, length: int, device: torch.device) -> tuple[float, ...] | None:
    """The mean of `length` figures over those processes that have them; None if none has."""
    if size() == 1:
        return None if values is None else tuple(values)
    told = torch.tensor([*(values or [0.0] * length), values is not None], dtype=torch.float64, device=device)
    distributed.all_reduce(told)
    count = float(told[-1])
    return tuple((told[:-1] / count).tolist()) if count else None


def sum_gradients(model: nn.Module) -> None:
    """Give all processes the sum of their gradients, for a model that is not wrapped.

    A parameter that has a gradient in no process keeps none, so that optimisers pass it over.
    """
    if size() == 1:
        return
    parameters = [p for p in model.parameters() if p.requires_grad]
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    there = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32, device=parts[0].device)
    told = torch.cat([*(part.flatten().float() for part in parts), there])
    distributed.all_reduce(told)
    pieces = torch.split(told, [*(p.numel() for p in parameters), len(parameters)])
    for parameter, part, piece, count in zip(parameters, parts, pieces, pieces[-1].tolist(), strict=False):
        if count:
            parameter.grad = part.copy_(piece.view_as(part))


def fingerprint(models: Iterable[nn.Module]) -> str:
    """sha256 of the parameters of models."""
    digest = hashlib.sha256()
    for model in models:
        for name, parameter in model.named_parameters():
            digest.update(name.encode() + parameter.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
