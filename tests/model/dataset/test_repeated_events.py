"""Equal events of one user are counted, wherever they stand among equal times."""

from collections import Counter

import numpy as np
import pytest

from model.dataset import repeated_events
from model.dataset.repeated_events import count_repeated_events
from tests.tiny import write_tiny_world


@pytest.mark.parametrize("users_at_once", [1, 3, 1000])
def test_they_are_counted_as_by_hand(monkeypatch, users_at_once):
    monkeypatch.setattr(repeated_events, "_USERS_AT_ONCE", users_at_once)
    rng = np.random.default_rng(0)
    lengths = rng.choice([0, 1, 2, 9, 40], 50)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    items = rng.integers(1, 4, offsets[-1]).astype(np.int32)
    actions = rng.integers(0, 2, offsets[-1]).astype(np.int8)
    times = np.concatenate([np.sort(rng.integers(0, 5, length)) for length in lengths])
    owners = np.repeat(np.arange(50), lengths)
    events = Counter(zip(*(x.tolist() for x in (owners, items, actions, times)), strict=True))
    expected = sum(times - 1 for times in events.values())
    assert expected > 100
    assert count_repeated_events(offsets, items, actions, times) == expected


def test_no_events():
    nothing = np.empty(0, np.int64)
    assert count_repeated_events(np.zeros(4, np.int64), nothing, nothing, nothing) == 0
    assert count_repeated_events(np.zeros(1, np.int64), nothing, nothing, nothing) == 0


def test_a_log_that_holds_everything_twice(tmp_path, caplog):
    caplog.set_level("INFO", "onepiece")
    world = write_tiny_world(tmp_path)
    once = sum(map(len, world.events))
    distinct = sum(
        len({(item, action or 0, time) for item, action, time in history})
        for history in world.events
    )
    file = world.root("recbole") / "tiny.inter"
    header, *lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([header, *lines, *lines]))
    assert world.interactions("recbole").num_events == 2 * once
    assert f"{2 * once - distinct} events occur more than once" in caplog.text
