"""The device of this process, among those that torchrun starts on one machine."""

import os

import torch

from model.errors import InputError


def own_device() -> torch.device:
    """The GPU of this process, made the current one, or the CPU where there is none.

    Raises:
        InputError: there are GPUs, but fewer than processes on this machine.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    place, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if place >= count:
        raise InputError(
            f"process {place} of this machine has no GPU of its own: it sees {count} GPU(s); "
            f"start torchrun with --nproc-per-node {count}, or show it more "
            "(CUDA_VISIBLE_DEVICES)"
        )
    device = torch.device("cuda", place)
    torch.cuda.set_device(device)
    return device
