"""Keep the memory that a step frees in the process, for the next one.

The C library repeatedly returns the free end of its heap to the system, which zeroes every page
before handing it out again. Every step allocates the same blocks, so that keeping them does not
raise the peak and saves page faults.
"""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt
KEPT_BYTES = 2**31 - 1
LARGEST_BLOCK = 2**25  # in the heap: the library's maximum, which its own threshold would reach


def keep_freed_memory() -> bool:
    """Stop returning freed memory; False, without effect, where the C library cannot."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    settings = ((MMAP_THRESHOLD, LARGEST_BLOCK), (TRIM_THRESHOLD, KEPT_BYTES))
    return all(library.mallopt(name, value) == 1 for name, value in settings)
