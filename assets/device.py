"""Where inference runs: a resource of the machine, never a parameter."""

import torch

DEVICE = "gpu"  # the pool of all assets that use it, and the name of its lock


def inference_device() -> torch.device:
    """The first GPU, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name() -> str:
    """A readable name of the device."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
