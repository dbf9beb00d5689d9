"""TencentGR's ``indexer.pkl``: raw ids of users and items, sizes of the feature vocabularies.

Re-ids run from 1 without gaps; 0 is padding.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from model.dataset.features import digest_vocabulary
from model.dataset.restricted_pickle import load_pickle
from model.errors import InputError

INDEXER = "indexer.pkl"


@dataclass(frozen=True)
class Indexer:
    """Raw ids in order of their re-ids (that of re-id r is at r - 1).

    ``vocabulary_sizes`` maps a feature to its largest code, ``vocabulary_digests`` to a digest of
    what its codes stand for.
    """

    raw_item_ids: pa.LargeStringArray
    raw_user_ids: pa.LargeStringArray
    vocabulary_sizes: dict[str, int]
    vocabulary_digests: dict[str, str]

    @property
    def num_items(self) -> int:
        return len(self.raw_item_ids)


def read_indexer(root: Path) -> Indexer:
    """Read ``root/indexer.pkl`` through the restricted unpickler.

    Raises:
        InputError: missing, damaged, hostile, without one of its parts, or re-ids with holes.
    """
    path = root / INDEXER
    content = load_pickle(path)
    for key in ("i", "u", "f"):
        if not isinstance(content, dict) or not isinstance(content.get(key), dict):
            raise InputError(
                f"{path}: key '{key}' is missing or not a dict; this must be the data set's own "
                "indexer"
            )
    codes = {str(name): _codes(path, str(name), given) for name, given in content["f"].items()}
    return Indexer(
        raw_item_ids=_by_re_id(path, "i", content["i"]),
        raw_user_ids=_by_re_id(path, "u", content["u"]),
        vocabulary_sizes={name: int(found.max(initial=0)) for name, found in codes.items()},
        vocabulary_digests={
            str(name): digest_vocabulary(_texts(given), codes[str(name)])
            for name, given in content["f"].items()
        },
    )


def _by_re_id(path: Path, key: str, mapping: dict[Any, Any]) -> pa.LargeStringArray:
    if not mapping:
        raise InputError(f"{path}: '{key}' is empty; this must be the data set's own indexer")
    re_ids = _integers(path, key, mapping)
    if not np.array_equal(np.sort(re_ids), np.arange(1, len(re_ids) + 1)):
        raise InputError(
            f"{path}: the re-ids of '{key}' are not 1 to {len(re_ids)} without holes or "
            "duplicates; the file is damaged, get it again"
        )
    try:
        raw = pa.array(mapping.keys())
        if raw.null_count or not (pa.types.is_integer(raw.type) or pa.types.is_string(raw.type)):
            raise TypeError(raw.type)
    except (pa.ArrowInvalid, TypeError, UnicodeError, OverflowError):
        raise InputError(
            f"{path}: the raw ids of '{key}' are of several types or of none that an id can be; "
            "all must be strings or all 64-bit integers"
        ) from None
    return raw.cast(pa.large_string()).take(pa.array(np.argsort(re_ids)))


def _integers(path: Path, key: str, mapping: dict[Any, Any]) -> np.ndarray:
    whole = all(issubclass(kind, int | np.integer) for kind in {*map(type, mapping.values())})
    try:
        found = np.fromiter(mapping.values(), np.int64, len(mapping))
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole or found.max(initial=0) > np.iinfo(np.int32).max:
        raise InputError(f"{path}: '{key}' must map to 32-bit integers; get it again")
    return found


def _codes(path: Path, name: str, mapping: Any) -> np.ndarray:
    if not isinstance(mapping, dict):
        raise InputError(f"{path}: feature '{name}' is not a dict; get the file again")
    return _integers(path, name, mapping)


def _texts(mapping: dict[Any, Any]) -> pa.Array:
    """Raw values as ASCII representations, which exist for every type and every string."""
    return pa.array(map(ascii, mapping), pa.large_string())
