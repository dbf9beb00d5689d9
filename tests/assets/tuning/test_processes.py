"""Devices are divided among workers."""

import pytest

from assets.tuning.processes import shares


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
