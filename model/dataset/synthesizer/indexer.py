"""Write ``indexer.pkl`` as a stream: millions of ids without a Python object each.

The file is a plain pickle (protocol 4) of dictionaries, strings and integers; its entries have
fixed widths and so can be laid out as arrays.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

_HEADER, _END = b"\x80\x04", b"."
_EMPTY_DICT, _MARK, _SET_ITEMS = b"}", b"(", b"u"
_STRING, _INT32, _LONG = 0x8C, ord("J"), 0x8A
_BATCH = 1 << 20


def write_indexer(
    path: Path,
    raw_users: np.ndarray,
    raw_items: np.ndarray,
    features: dict[str, np.ndarray],
) -> None:
    """Write the dictionaries 'u', 'i', 'f' and 'a'.

    Args:
        path: the file.
        raw_users: (U,) int64, number of the user with re-id r at r - 1; 'user_' and eight digits.
        raw_items: (I,) int64, raw id of the item with re-id r at r - 1.
        features: name -> (values,) int64, raw value of code c at c - 1.
    """
    with path.open("wb") as file:
        file.write(_HEADER + _EMPTY_DICT + _MARK)
        file.write(_string("u"))
        _write_dict(file, _user_entries(raw_users))
        file.write(_string("i"))
        _write_dict(file, _item_entries(raw_items))
        file.write(_string("f") + _EMPTY_DICT + _MARK)
        for name, values in features.items():
            file.write(_string(name))
            _write_dict(file, _small_entries(values, 1 + np.arange(len(values))))
        file.write(_SET_ITEMS)
        file.write(_string("a"))
        _write_dict(file, _small_entries(np.array([1, 0]), np.array([1, 2])))
        file.write(_SET_ITEMS + _END)


def _string(text: str) -> bytes:
    return bytes([_STRING, len(text)]) + text.encode()


def _write_dict(file: BinaryIO, pieces: Iterator[np.ndarray]) -> None:
    file.write(_EMPTY_DICT)
    for piece in pieces:
        file.write(_MARK + piece.tobytes() + _SET_ITEMS)


def _user_entries(numbers: np.ndarray) -> Iterator[np.ndarray]:
    layout = [("op", "u1"), ("size", "u1"), ("text", "S13"), ("value_op", "u1"), ("value", "<i4")]
    for first in range(0, len(numbers), _BATCH):
        part = numbers[first : first + _BATCH]
        entries = np.zeros(len(part), np.dtype(layout))
        digits = part[:, None] // 10 ** np.arange(7, -1, -1) % 10 + ord("0")
        prefix = np.broadcast_to(np.frombuffer(b"user_", np.uint8), (len(part), 5))
        text = np.ascontiguousarray(np.hstack([prefix, digits.astype(np.uint8)]))
        entries["op"], entries["size"], entries["value_op"] = _STRING, 13, _INT32
        entries["text"] = text.view("S13")[:, 0]
        entries["value"] = first + 1 + np.arange(len(part))
        yield entries


def _item_entries(raw_ids: np.ndarray) -> Iterator[np.ndarray]:
    """Raw ids need five bytes; the sixth keeps the sign."""
    layout = [("op", "u1"), ("size", "u1"), ("key", "<u4"), ("high", "<u2")]
    layout += [("value_op", "u1"), ("value", "<i4")]
    for first in range(0, len(raw_ids), _BATCH):
        part = raw_ids[first : first + _BATCH]
        entries = np.zeros(len(part), np.dtype(layout))
        entries["op"], entries["size"], entries["value_op"] = _LONG, 6, _INT32
        entries["key"], entries["high"] = part & 0xFFFFFFFF, part >> 32
        entries["value"] = first + 1 + np.arange(len(part))
        yield entries


def _small_entries(keys: np.ndarray, values: np.ndarray) -> Iterator[np.ndarray]:
    layout = [("op", "u1"), ("key", "<i4"), ("value_op", "u1"), ("value", "<i4")]
    for first in range(0, len(keys), _BATCH):
        part = slice(first, first + _BATCH)
        entries = np.zeros(len(keys[part]), np.dtype(layout))
        entries["op"] = entries["value_op"] = _INT32
        entries["key"], entries["value"] = keys[part], values[part]
        yield entries
