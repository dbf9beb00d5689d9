"""Reading pickles from strangers: plain containers, numbers, strings and numpy arrays only.

A pickle is a program; it can name any function and call it. This reader gives it nothing to call
beyond what rebuilds plain data, so a hostile file is refused before any of its code runs.
"""

import pickle
from pathlib import Path
from typing import Any

from model.dataset.raw_files import readable
from model.errors import InputError

_ALLOWED = frozenset(
    {
        *(
            ("builtins", name)
            for name in ("dict", "list", "tuple", "set", "frozenset", "str", "int", "float", "bool")
        ),
        ("collections", "OrderedDict"),
        ("collections", "defaultdict"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
    }
)


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):  # how old protocols write bytes
            return _latin1
        current = module.replace("numpy.core", "numpy._core")  # its name before numpy 2
        current = "builtins" if module == "__builtin__" else current  # its name in Python 2
        if (current, name) not in _ALLOWED:
            raise _RefusedError(f"{module}.{name}")
        return super().find_class(current, name)


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise _RefusedError(f"_codecs.encode to {encoding}")
    return text.encode("latin1")


class _RefusedError(Exception):
    """A pickle asked for something that is not plain data."""


def load_pickle(path: Path) -> Any:
    """Read a pickle of plain data.

    Raises:
        InputError: missing, not to be read, damaged, or asking for anything else; the message names
            what it asked for, and none of its code has run.
    """
    try:
        with readable(path), path.open("rb") as file:
            return _PlainUnpickler(file).load()
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{path}: not found; it belongs to the data set, copy it there") from None
    except _RefusedError as error:
        raise InputError(
            f"{path}: refused, because it asks for {error}, which plain data never needs; the "
            "file may be hostile, get it again from where it is published"
        ) from None
    except (OSError, InputError):
        raise
    except Exception as error:  # a damaged pickle can fail in any way that its opcodes can
        raise InputError(
            f"{path}: damaged or not a pickle ({type(error).__name__}: {error}); get it again"
        ) from None
