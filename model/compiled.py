"""numba's compiler, whose cache on disk notices a change in any file that a kernel is made of.

numba asks the file of the cached function alone. Kernels here are made of several files, so after
an update of one of them numba would go on running machine code of the old one, and lineage would
call it the new. Therefore the cache lies in a folder named after all files with kernels.

Importing this needs numba.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import config, njit

PACKAGE = Path(__file__).parent
MARKS = (b"numba", b"model.compiled")  # what a file that kernels are made of says


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """As ``njit(cache=True)``, stale as soon as any file with kernels has changed.

    Args:
        options: numba's own.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        given = config.CACHE_DIR  # pyright: ignore[reportAttributeAccessIssue]
        config.CACHE_DIR = str(cache_folder(PACKAGE, Path(given) if given else None))
        try:
            return njit(cache=True, **options)(function)
        finally:  # other people's kernels in this process stay where they are
            config.CACHE_DIR = given

    return decorate


@cache
def cache_folder(package: Path, chosen: Path | None) -> Path:
    """Where kernels of a package are kept, in a folder of this very state of its files.

    Args:
        package: folder of the sources.
        chosen: the user's ``NUMBA_CACHE_DIR``, if any; else it is the package's own cache.
    """
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        source = file.read_bytes()
        if any(mark in source for mark in MARKS):
            digest.update(source)
    return (chosen or package / "__pycache__") / f"kernels-{digest.hexdigest()[:16]}"
