"""New raw files are noticed by content, and only when they have come to rest."""

import os

import pytest

from assets.hashing import HashCache
from orchestration.automation import judge_delivery

SETTLED = 60.0


@pytest.fixture
def source(tmp_path):
    source = tmp_path / "raw"
    source.mkdir()
    (source / "events.parquet").write_bytes(b"one")
    return source


@pytest.fixture
def look(source):
    """Looks at the folder at a given second, with the memory of the looks before."""
    memory = {}

    def at(seconds):
        decided, left = judge_delivery(
            source, dict(memory), hashes=HashCache(None), settled_seconds=SETTLED, now=seconds
        )
        memory.clear()
        memory.update(left)
        return decided

    return at


def test_a_delivery_is_noticed_once_when_it_has_come_to_rest(look):
    assert look(0) is None
    assert look(59) is None
    assert look(60) is not None
    assert look(120) is None


def test_files_that_still_grow_are_left_alone(look, source):
    for second in range(0, 600, 50):
        (source / "events.parquet").write_bytes(b"x" * (second + 1))
        assert look(second) is None
    assert look(550 + SETTLED) is not None


def test_a_new_date_is_no_new_data(look, source):
    look(0)
    look(60)
    os.utime(source / "events.parquet", ns=(5, 5))
    assert look(100) is None
    assert look(200) is None


def test_new_content_of_the_same_size_is_new_data(look, source):
    look(0)
    first = look(60)
    (source / "events.parquet").write_bytes(b"two")
    assert look(100) is None
    second = look(200)
    assert second is not None
    assert second != first


def test_content_that_comes_back_is_a_delivery_too(look, source):
    look(0)
    first = look(60)
    (source / "events.parquet").write_bytes(b"two")
    look(100)
    look(200)
    (source / "events.parquet").write_bytes(b"one")
    look(300)
    assert look(400) == first
