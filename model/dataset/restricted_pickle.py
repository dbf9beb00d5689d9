"""Read untrusted pickles: plain containers, numbers, strings and numpy arrays only.

A pickle is a program; it can name any function and call it. This reader allows only what rebuilds
plain data, so a hostile file is refused before any of its code runs. Arrays are built here and not
by numpy, which would accept bytes that a pickle declares to be object pointers.
"""

import pickle
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from model.dataset.raw_files import readable, require_file
from model.errors import InputError

_BUILTINS = ("bool", "bytes", "dict", "float", "frozenset", "int", "list", "set", "str", "tuple")
_ALLOWED = frozenset(
    {
        *(("builtins", name) for name in _BUILTINS),
        ("collections", "OrderedDict"),
        ("collections", "defaultdict"),
        ("numpy", "dtype"),
    }
)


class _RefusedError(Exception):
    """A pickle asked for something that is not plain data."""


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise _RefusedError(f"_codecs.encode to {encoding}")
    return text.encode("latin1")


@lru_cache(16)
def _honest(dtype: np.dtype) -> np.dtype:
    """The type that a dtype names, without flags and fields, which a pickle can set freely."""
    return np.dtype(dtype.str)


class _Array(np.ndarray):
    """An array of the type that its pickle names, which is checked when its state is set."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        version, shape, dtype, is_fortran, content = state
        super().__setstate__((version, shape, _honest(dtype), is_fortran, content))


def _empty_array(_kind: None, _shape: Any, _dtype: Any) -> _Array:
    return _Array(0)


def _array_of_bytes(content: Any, dtype: np.dtype, shape: Any, order: Any) -> np.ndarray:
    return np.frombuffer(content, _honest(dtype)).reshape(shape, order=order)


def _scalar(dtype: np.dtype, content: Any) -> Any:
    return np.frombuffer(content, _honest(dtype))[0]


_STAND_INS: dict[tuple[str, str], Callable[..., Any] | None] = {
    ("_codecs", "encode"): _latin1,  # how old protocols write bytes
    ("numpy", "ndarray"): None,  # named as an argument, never called
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy._core.numeric", "_frombuffer"): _array_of_bytes,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        current = module.replace("numpy.core", "numpy._core")  # its name before numpy 2
        current = "builtins" if module == "__builtin__" else current  # its name in Python 2
        if (current, name) in _STAND_INS:
            return _STAND_INS[current, name]
        if (current, name) not in _ALLOWED:
            raise _RefusedError(f"{module}.{name}")
        return super().find_class(current, name)


def load_pickle(path: Path) -> Any:
    """Read a pickle of plain data.

    Raises:
        InputError: missing, unreadable, damaged, or asking for anything else; the message names
            what it asked for, and none of its code has run.
    """
    require_file(path)
    try:
        with readable(path), path.open("rb") as file:
            return _PlainUnpickler(file).load()
    except _RefusedError as error:
        raise InputError(
            f"{path}: refused, because it asks for {error}, which plain data never needs; the "
            "file may be hostile, get it again from where it is published"
        ) from None
    except (OSError, InputError):
        raise
    except Exception as error:  # a damaged pickle can fail in any way that its opcodes can
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: damaged or not a pickle ({type(error).__name__}: {reason}); get it again"
        ) from None
