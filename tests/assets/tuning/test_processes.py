"""Devices are divided among workers."""

import pytest

from assets.tuning.processes import _visible, shares


@pytest.mark.parametrize(
    ("devices", "processes", "divided"),
    [
        (0, 2, [[], []]),
        (1, 1, [[0]]),
        (1, 3, [[0], [0], [0]]),
        (4, 2, [[0, 2], [1, 3]]),
        (3, 2, [[0, 2], [1]]),
        (2, 3, [[0], [1], [0]]),
    ],
)
def test_each_worker_has_its_share(devices, processes, divided):
    assert shares(range(devices), processes) == divided


def test_a_device_is_called_by_the_name_under_which_we_were_given_it(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5f")
    assert _visible([1]) == "GPU-5f"
    assert _visible([0, 1]) == "3,GPU-5f"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert _visible([1, 2]) == "1,2"
