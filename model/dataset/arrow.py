"""``pyarrow.compute``, whose functions are generated at import, unseen by type checkers."""

from typing import Any

import pyarrow as pa
import pyarrow.compute

compute: Any = pyarrow.compute

_TEXTS_AT_ONCE = 1_000_000


def update_digest(digest: Any, texts: pa.Array) -> None:
    """Update a digest of :mod:`hashlib` with texts, without creating an object for each."""
    for first in range(0, len(texts), _TEXTS_AT_ONCE):
        part = texts.slice(first, _TEXTS_AT_ONCE).cast(pa.string())
        whole = pa.ListArray.from_arrays([0, len(part)], part)
        digest.update(compute.binary_join(whole, "\n")[0].as_buffer())
