"""Training runs in worker processes: one per GPU under torchrun, one on a CPU.

Their output goes to the run's log line by line. When the run is cancelled, or its process dies, so
do the workers; their resumable state stays for the next run.
"""

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch
import yaml

from assets.lineage import Lineage
from assets.peak_memory import note_worker
from assets.stages import read_code
from assets.transient import OUT_OF_DEVICE_MEMORY, WorkerOutOfMemoryError
from assets.workspace import Workspace
from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.recommendable import require_enough_candidates
from model.errors import REFUSED, InputError
from model.parent_process import obey_parent
from model.partial_folders import publish_folder
from model.progress import IN_BAR
from model.training.progress_report import is_in_bar

logger = logging.getLogger("onepiece")

STOP_SECONDS = 8.0
LAUNCHER_STOP_SECONDS = 40.0  # torchrun grants its processes 30 before it kills them
_OUT_OF_MEMORY = ("DefaultCPUAllocator", "MemoryError")  # as PyTorch and numpy put it


def run_training(workspace: Workspace, asset: str, folder: Path) -> None:
    """Train one asset in worker processes and leave its checkpoint in ``folder``.

    Raises:
        InputError: the worker refused its input; with its sentence.
        RuntimeError: the worker failed otherwise.
    """
    _run_worker(workspace, asset, ["model.training", asset], folder)


def run_scaling_point(workspace: Workspace, point: str, folder: Path) -> None:
    """Train and measure a point of the scaling study in worker processes.

    Raises:
        InputError: the worker refused its input; with its sentence.
        RuntimeError: the worker failed otherwise.
    """
    _run_worker(workspace, "scaling_points", ["model.scaling", point], folder)


def publish_training(workspace: Workspace, staging: Path, run_id: str) -> None:
    """Publish a finished training, then remove its resumable state, no longer needed."""
    recipe = Lineage.read(staging).recipe
    publish_folder(staging, workspace.folder(recipe.asset, recipe.partition))
    state = workspace.data / ".resume" / (recipe.partition or recipe.asset)
    shutil.rmtree(state, ignore_errors=True)


def require_recommendable(workspace: Workspace) -> None:
    """Refuse, before hours of training, filters that leave fewer than ten candidates.

    Raises:
        InputError: they do, or ``cascade.max_per_group`` leaves too few of them.
    """
    interactions = Interactions.load(workspace.folder("interactions"))
    statistics = ItemStatistics.load(workspace.folder("item_statistics"))
    require_enough_candidates(interactions, statistics.popularity, workspace.params.cascade)


@contextmanager
def frozen_parameters(workspace: Workspace) -> Iterator[Path]:
    """Write the parameters that this process has read to a temporary file, for its workers."""
    with tempfile.TemporaryDirectory(prefix="onepiece-") as folder:
        file = Path(folder, workspace.params_file.name)
        file.write_text(yaml.safe_dump(workspace.values, sort_keys=False))
        yield file


def tell(line: str) -> None:
    """Log a worker's line, except on a terminal where its progress bar shows the same."""
    logger.info("%s", line, extra={IN_BAR: sys.stderr.isatty() and is_in_bar(line)})


def stream(arguments: list[str], *, cwd: Path, show: Callable[[str], None] = tell) -> None:
    """Run Python with these arguments, passing its lines on, and end it when this process ends.

    Raises:
        InputError: it refused its input, or one of the processes that it started did; or it asked
            for more memory than the machine has.
        WorkerOutOfMemoryError: its device ran out of memory, which another process may have taken.
        RuntimeError: it failed otherwise.
    """
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=Path.cwd(),
        env={**os.environ, "PYTHONPATH": _search_path(cwd), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=None if sys.stderr.isatty() else subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=obey_parent,
    )
    last, refusal, exhausted, too_large = "", None, False, False
    try:
        assert process.stdout is not None
        for line in process.stdout:
            last = line.rstrip() or last
            if line.startswith(REFUSED):
                refusal = line.removeprefix(REFUSED).rstrip()
            exhausted = exhausted or OUT_OF_DEVICE_MEMORY in line
            too_large = too_large or any(sign in line for sign in _OUT_OF_MEMORY)
            show(line.rstrip())
        code = _wait(process)
    finally:
        _stop(process)
    if code != 0 and refusal is not None:
        raise InputError(refusal)
    if code != 0 and exhausted:
        raise WorkerOutOfMemoryError(f"the training worker ran out of memory on its device: {last}")
    if code != 0 and too_large:
        raise InputError(
            f"the training worker asked for more memory than there is ({last}); choose smaller "
            "tables (item_id_dim and hash_sizes of network.features) or a smaller batch_size"
        )
    if code == -signal.SIGKILL:
        raise InputError(
            f"the training worker was killed ({last}), by the system if memory ran out; run the "
            "same command again, where memory is short with a smaller batch_size or more "
            "accumulation_steps"
        )
    if code != 0:
        raise RuntimeError(f"the training worker ended with exit code {code}: {last}")


def _run_worker(workspace: Workspace, asset: str, module: list[str], folder: Path) -> None:
    """Train with the parameters and the code that this process has read.

    Raises:
        InputError: the code was edited since, and the worker would import the edited files.
    """
    stage = workspace.stages[asset]
    if read_code(workspace.root, stage.code) != stage.code_hash(workspace.root):
        raise InputError(
            f"{asset}: its code was edited since this run began; run the same command again"
        )
    with frozen_parameters(workspace) as params:
        where = ["--params", str(params), "--data", str(workspace.data), "--out", str(folder)]
        stream(
            ["-m", *launcher(torch.cuda.device_count()), *module, *where, "--keep-state"],
            cwd=workspace.root,
        )


def launcher(devices: int) -> list[str]:
    """Arguments that start one process per device; empty for one device, or none."""
    if devices <= 1:
        return []
    return ["torch.distributed.run", "--standalone", f"--nproc-per-node={devices}", "-m"]


def _search_path(root: Path) -> str:
    inherited = os.environ.get("PYTHONPATH")
    return str(root) if not inherited else f"{root}{os.pathsep}{inherited}"


def _wait(process: subprocess.Popen) -> int:
    """Wait for a worker's exit code; its peak memory is noted for the asset's page."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    note_worker(usage)
    return process.returncode


def _stop(process: subprocess.Popen) -> None:
    """End the worker and all its children: SIGTERM first, so that a checkpoint can be finished.

    torchrun starts each process in a session of its own, which no signal to the worker's group
    reaches; it passes the signal on and waits for them. The children are listed first, as orphans
    could not be found afterwards.
    """
    if process.poll() is not None:
        return
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(LAUNCHER_STOP_SECONDS if children else STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
