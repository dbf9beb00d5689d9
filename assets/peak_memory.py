"""Peak memory while an artefact was made, of this process or one of its workers."""

import resource
from pathlib import Path
from types import SimpleNamespace

_workers = SimpleNamespace(peak_bytes=0)  # of those that were waited for since the last reset


def reset_peak_memory() -> None:
    """Start a new measurement, where the kernel allows it."""
    _workers.peak_bytes = 0
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux, or not allowed: the peak is then that of the whole process
        return


def peak_memory_bytes() -> int:
    """The most memory that this process, or a worker of it, held since the last reset."""
    return max(_own_peak_bytes(), _workers.peak_bytes)


def note_worker(usage: resource.struct_rusage) -> None:
    """Include the peak of a worker process that has ended."""
    _workers.peak_bytes = max(_workers.peak_bytes, usage.ru_maxrss * 1024)


def _own_peak_bytes() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # not Linux
        return 0
    peaks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peaks[0]) * 1024 if peaks else 0
