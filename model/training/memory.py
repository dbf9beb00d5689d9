"""Memory of a step stays with the process for the next one.

The C library gives the free end of its heap back to the system again and again, and the system
clears it, page by page, for whoever asks next. Every step asks for the same blocks, so that keeping
them costs nothing at the peak and saves page faults.
"""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt
KEPT_BYTES = 2**31 - 1
LARGEST_BLOCK = 2**25  # in the heap: what the library would come to by itself, and its most


def keep_freed_memory() -> bool:
    """From now on; False where the C library has no such setting, and nothing changes."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    settings = ((MMAP_THRESHOLD, LARGEST_BLOCK), (TRIM_THRESHOLD, KEPT_BYTES))
    return all(library.mallopt(name, value) == 1 for name, value in settings)
