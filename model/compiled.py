"""numba's compiler, whose cache on disk notices a change in any file that a kernel is made of.

numba asks the file of the cached function alone. Kernels here are made of several files, so after
an update of one of them numba would go on running machine code of the old one, and lineage would
call it the new. Therefore the cache lies in a folder named after all of them.

numba starts a thread per core, whatever ``OMP_NUM_THREADS`` says, and by that sets the number of
PyTorch's threads too: both hold to it here.

Importing this needs numba.
"""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from numba import config, njit
from numba.np.ufunc import parallel

ROOT = Path(__file__).parents[1]  # what imports are relative to
SETTINGS: Any = config  # numba's; it has no static attributes
_THREADING: Any = parallel  # likewise
_IMPORT = re.compile(rb"^from ([\w.]+) import", re.MULTILINE)
_MARKS = (b"numba", b"model.compiled")  # what a file says that has kernels, or numbers for them


def threads_allowed(environment: Mapping[str, str], cores: int) -> int:
    """How many threads numba may start.

    Args:
        environment: of this process.
        cores: what numba would start by itself.

    Returns:
        What ``NUMBA_NUM_THREADS`` says, else ``OMP_NUM_THREADS`` up to ``cores``, else ``cores``.
    """
    outermost = environment.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if "NUMBA_NUM_THREADS" in environment or not outermost.isdecimal():
        return cores
    return max(1, min(int(outermost), cores))


SETTINGS.NUMBA_NUM_THREADS = threads_allowed(os.environ, SETTINGS.NUMBA_NUM_THREADS)
# How many are started numba has looked up while it was imported.
_THREADING.NUM_THREADS = SETTINGS.NUMBA_NUM_THREADS


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """As ``njit(cache=True)``, stale as soon as any file that the kernel is made of has changed.

    Args:
        options: numba's own.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        given = SETTINGS.CACHE_DIR
        file = Path(function.__code__.co_filename)
        SETTINGS.CACHE_DIR = str(cache_folder(file, ROOT, Path(given) if given else None))
        try:
            return njit(cache=True, **options)(function)
        finally:  # other people's kernels in this process stay where they are
            SETTINGS.CACHE_DIR = given

    return decorate


@cache
def cache_folder(file: Path, root: Path, chosen: Path | None) -> Path:
    """Where the kernels of a file are kept: a folder of this very state of its sources.

    Args:
        file: with kernels.
        root: what its imports are relative to.
        chosen: the user's ``NUMBA_CACHE_DIR``, if any; else it lies beside the file, or with the
            user where nothing may be written there.
    """
    digest = hashlib.sha256()
    for source in sorted(made_of(file, root)):
        digest.update(source.read_bytes())
    if chosen is None and os.access(file.parent, os.W_OK):
        chosen = file.parent / "__pycache__"
    home = chosen or Path.home() / ".cache" / "onepiece"
    return home / f"{file.stem}-{digest.hexdigest()[:16]}"


def made_of(file: Path, root: Path) -> set[Path]:
    """A file and all that it imports from, and so on, as far as they have to do with kernels."""
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        one = waiting.pop()
        if one in found or not one.is_file():
            continue
        source = one.read_bytes()
        if one == file or any(mark in source for mark in _MARKS):
            found.add(one)
            names = (name.decode().replace(".", "/") for name in _IMPORT.findall(source))
            waiting += [root / f"{name}.py" for name in names]
    return found
