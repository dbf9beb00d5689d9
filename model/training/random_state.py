"""PyTorch's random generators as part of a training's state, one row per process."""

import torch
from torch import Tensor

from model.training.distributed import World, gather_rows


def generators(world: World) -> dict[str, Tensor]:
    """The states of all processes: ``generator0`` of the CPU, ``generator1`` of the device.

    A collective operation: with several processes, all must call it.
    """
    own = [torch.get_rng_state()[None]]
    if world.device.type == "cuda":
        own.append(torch.cuda.get_rng_state(world.device)[None])
    if world.size > 1:
        own = [gather_rows(one.to(world.device))[0].cpu() for one in own]
    return {f"generator{place}": one for place, one in enumerate(own)}


def restore_generators(kept: dict[str, Tensor], world: World) -> None:
    """Restore this process's generators; a process without saved ones keeps its own."""
    if world.rank >= len(kept["generator0"]):
        return
    # A clone: PyTorch reads a view's storage from its start.
    torch.set_rng_state(kept["generator0"][world.rank].clone())
    if world.device.type == "cuda" and "generator1" in kept:  # a state made on CPUs has none
        torch.cuda.set_rng_state(kept["generator1"][world.rank].clone(), world.device)
