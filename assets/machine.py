"""A readable name of the machine that something was made on."""

import os


def machine_name(*, with_gpus: bool) -> str:
    """Its usable CPU cores, as limited by ``OMP_NUM_THREADS``, and its visible GPUs.

    Args:
        with_gpus: whether to name the GPUs; else PyTorch is not imported.
    """
    cores = len(os.sched_getaffinity(0))
    threads = os.environ.get("OMP_NUM_THREADS", "")
    fewer = threads.isdigit() and int(threads) < cores
    processors = f"{threads} of {cores} CPU cores" if fewer else f"{cores} CPU cores"
    return f"{_gpus()}{processors}" if with_gpus else processors


def _gpus() -> str:
    import torch

    count = torch.cuda.device_count()
    return f"{count} x {torch.cuda.get_device_name(0)}, " if count else ""
