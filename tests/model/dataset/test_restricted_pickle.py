"""A pickle may hold plain data; it may not run anything."""

import pickle
import subprocess
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest

from model.dataset.restricted_pickle import load_pickle
from model.errors import InputError


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_is_read(tmp_path, protocol):
    nested = defaultdict(dict)
    nested["122"][1220085321] = 1
    value = {
        "f": nested,
        "o": OrderedDict(a=1),
        "list": [1, 2.5, "text", b"bytes", None, True, (1, 2), {3}, frozenset({4}), 10**30],
        "numpy": [np.float32(1.5), np.int64(7)],
    }
    path = tmp_path / "plain.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    assert load_pickle(path) == value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("array", [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(["ab"])])
def test_numpy_arrays_are_read(tmp_path, array, protocol):
    path = tmp_path / "array.pkl"
    path.write_bytes(pickle.dumps({20_000_000_027: array}, protocol))
    np.testing.assert_array_equal(load_pickle(path)[20_000_000_027], array)


def test_numpy_one_names_are_understood(tmp_path):
    """Files written with numpy 1 name its modules without the underscore."""
    written = pickle.dumps(np.arange(3), 2)
    path = tmp_path / "old.pkl"
    path.write_bytes(written.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    np.testing.assert_array_equal(load_pickle(path), np.arange(3))


class Calls:
    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (eval, ("open('MARK', 'w')",), r"builtins\.eval"),
        (open, ("MARK", "w"), r"(io|_io)\.open"),
        (subprocess.run, (["touch", "MARK"],), r"subprocess\.run"),
        (Path.touch, (Path("MARK"),), r"builtins\.getattr|pathlib"),
        (getattr, ("x", "upper"), r"builtins\.getattr"),
        (np.load, ("MARK",), r"numpy\.load"),
    ],
)
@pytest.mark.parametrize("wrapped", [lambda x: x, lambda x: {"i": [x]}])
def test_nothing_else_is_called(tmp_path, monkeypatch, function, arguments, named, wrapped):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "hostile.pkl"
    path.write_bytes(pickle.dumps(wrapped(Calls(function, *arguments))))
    with pytest.raises(InputError, match=rf"hostile\.pkl: refused.*{named}"):
        load_pickle(path)
    assert not (tmp_path / "MARK").exists()


def test_an_object_array_is_no_way_around(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    array = np.array([Calls(eval, "open('MARK', 'w')")], object)
    (tmp_path / "hostile.pkl").write_bytes(pickle.dumps(array))
    with pytest.raises(InputError, match="refused"):
        load_pickle(tmp_path / "hostile.pkl")
    assert not (tmp_path / "MARK").exists()


RECONSTRUCT, FROM_BUFFER = (np.zeros(1).__reduce_ex__(protocol)[0] for protocol in (2, 5))
SCALAR = np.float32(1).__reduce__()[0]
FORGED = b"A" * 8  # taken for the address of an object, it ends the process
UNFLAGGED = Calls(np.dtype, "O", False, True, state=(3, "|", None, None, None, -1, -1, 0))


@pytest.mark.parametrize(
    "forged",
    [
        Calls(np.ndarray, (1,), "O", FORGED),
        Calls(FROM_BUFFER, FORGED, UNFLAGGED, (1,), "C"),
        Calls(SCALAR, UNFLAGGED, FORGED),
        Calls(RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, (1,), UNFLAGGED, False, FORGED)),
    ],
    ids=["called", "buffer", "scalar", "state"],
)
def test_bytes_are_never_taken_for_objects(tmp_path, forged):
    (tmp_path / "forged.pkl").write_bytes(pickle.dumps({"i": forged}))
    with pytest.raises(InputError, match=r"forged\.pkl: damaged or not a pickle"):
        load_pickle(tmp_path / "forged.pkl")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "array",
    [
        np.array([1, None, "a"], object),
        np.arange(3, dtype=">f4"),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.empty((0, 3), np.float16),
    ],
)
def test_arrays_of_every_kind_come_back_as_they_were(tmp_path, array, protocol):
    (tmp_path / "array.pkl").write_bytes(pickle.dumps(array, protocol))
    found = load_pickle(tmp_path / "array.pkl")
    assert found.shape == array.shape
    assert found.dtype == array.dtype or found.dtype == array.dtype.newbyteorder()  # as numpy does
    assert found.tolist() == array.tolist()


def test_damage_is_told_in_one_line(tmp_path):
    (tmp_path / "damaged.pkl").write_bytes(b"Pan id that lies elsewhere\n.")
    with pytest.raises(InputError, match=r"damaged or not a pickle") as refused:
        load_pickle(tmp_path / "damaged.pkl")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps({"a": [1] * 50})[:-20]])
def test_damage_is_reported(tmp_path, content):
    path = tmp_path / "damaged.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged\.pkl: damaged or not a pickle"):
        load_pickle(path)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(InputError, match=r"none\.pkl: not found"):
        load_pickle(tmp_path / "none.pkl")
