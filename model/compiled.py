"""numba's compiler with a disk cache that is invalidated by a change in any of a kernel's files.

numba checks only the file of the cached function. Kernels here span several files, so after a
change in another one numba would go on running stale machine code, and lineage would record it as
the new version. Therefore the cache folder is named after a hash of all of them.

numba starts a thread per core, whatever ``OMP_NUM_THREADS`` says, and thereby changes the number of
PyTorch's threads too: here both respect the variable.

Whoever installs OnePiece waits once until all are compiled, and is told so. Kernels avoid what
takes numba seconds: sums over an axis, ``np.diff``, assigning an array to a slice (its error
message alone), and passing on the index of a ``prange``, which is typed as int64 first and as
uint64 later, so that everything it reaches is compiled twice; ``np.int64(index)`` is not.

Importing this needs numba.
"""

import hashlib
import logging
import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from numba import config, njit
from numba.core.event import Event, Listener, register
from numba.np.ufunc import parallel

logger = logging.getLogger("onepiece")
ROOT = Path(__file__).parents[1]  # what imports are relative to
SETTINGS: Any = config  # numba's; it has no static attributes
_THREADING: Any = parallel  # likewise
_IMPORT = re.compile(rb"^from ([\w.]+) import", re.MULTILINE)
_MARKS = (b"numba", b"model.compiled")  # found in files with kernels or constants for them
STANDS_STILL = (
    "compiling CPU kernels, once for this version of the code: nothing else moves meanwhile, "
    "one or two minutes in all"
)


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
# numba copied the number of threads to start when it was imported: set it there too.
_THREADING.NUM_THREADS = SETTINGS.NUMBA_NUM_THREADS


class FirstCompilation(Listener):
    """Says once per process why all stands still; what the cache has is loaded without a word."""

    def __init__(self) -> None:
        self._told = False

    def on_start(self, event: Event) -> None:
        """The compiler begins."""
        if not self._told:
            self._told = True
            logger.info(STANDS_STILL)

    def on_end(self, event: Event) -> None:
        """The compiler is done: nothing to say."""


register("numba:compile", FirstCompilation())


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """As ``njit(cache=True)``, recompiled after a change in any file that the kernel depends on.

    Args:
        options: numba's own.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        given = SETTINGS.CACHE_DIR
        file = Path(function.__code__.co_filename)
        SETTINGS.CACHE_DIR = str(cache_folder(file, ROOT, Path(given) if given else None))
        try:
            return njit(cache=True, **options)(function)
        finally:  # other libraries' kernels in this process keep their folder
            SETTINGS.CACHE_DIR = given

    return decorate


@cache
def cache_folder(file: Path, root: Path, chosen: Path | None) -> Path:
    """The cache folder of a file's kernels, named after a hash of all their sources.

    Args:
        file: a file with kernels.
        root: what its imports are relative to.
        chosen: the user's ``NUMBA_CACHE_DIR``, if any; else the folder lies beside the file, or in
            the user's home where nothing may be written there.
    """
    digest = hashlib.sha256()
    for source in sorted(made_of(file, root)):
        digest.update(source.read_bytes())
    if chosen is None and os.access(file.parent, os.W_OK):
        chosen = file.parent / "__pycache__"
    home = chosen or Path.home() / ".cache" / "onepiece"
    return home / f"{file.stem}-{digest.hexdigest()[:16]}"


def made_of(file: Path, root: Path) -> set[Path]:
    """A file and, recursively, those that it imports from, if they have kernels or constants."""
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
