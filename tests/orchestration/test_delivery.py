"""New raw files are noticed by content, and only when they have come to rest."""

import os
import time

import pytest

from assets.hashing import HashCache
from orchestration.delivery import find_unsettled, judge_delivery

SETTLED = 60.0


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


def test_a_hidden_file_is_no_delivery(look, source):
    assert [look(second) for second in (0, 60)][1] is not None
    (source / ".DS_Store").write_bytes(b"view")
    assert [look(second) for second in (120, 180, 240)] == [None] * 3


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


@pytest.mark.parametrize("name", [".events.parquet.Xy12_z", "events.parquet.part", "a/b.tmp"])
def test_a_name_that_a_copy_in_progress_has_is_waited_for(look, source, name):
    (source / name).parent.mkdir(exist_ok=True)
    (source / name).write_bytes(b"half")
    assert look(0) is None
    assert look(500) is None
    (source / name).rename(source / "events.parquet")
    assert look(600) is None
    assert look(600 + SETTLED) is not None


def test_a_copy_that_was_killed_is_waited_for_no_longer_than_a_day(source):
    (source / ".events.parquet.Xy12_z").write_bytes(b"half")
    for hours, waits in ((1, True), (23, True), (25, False)):
        now = time.time() + hours * 3600
        why = find_unsettled(source, settled_seconds=SETTLED, now=now)
        assert why == (".events.parquet.Xy12_z is being copied" if waits else None)


def test_what_stays_beside_the_files_is_not_waited_for(look, source):
    for name in (".DS_Store", ".part-00000.parquet.crc", "_SUCCESS"):
        (source / name).write_bytes(b"")
    look(0)
    assert look(SETTLED) is not None


def test_one_look_tells_that_files_are_young_whatever_their_dates(source):
    os.utime(source / "events.parquet", ns=(5, 5))
    for seconds, unsettled in ((0, True), (SETTLED / 2, True), (2 * SETTLED, False)):
        now = time.time() + seconds
        why = find_unsettled(source, settled_seconds=SETTLED, now=now)
        assert (why == f"events.parquet has been still for less than {SETTLED} s") == unsettled
        assert unsettled or why is None


def test_one_look_passes_over_hidden_files_and_names_a_link_to_nothing(source):
    later = time.time() + SETTLED / 2
    (source / "events.parquet").rename(source / ".events.parquet")
    assert find_unsettled(source, settled_seconds=SETTLED, now=later) is None
    (source / "events.parquet").symlink_to("nowhere")
    why = find_unsettled(source, settled_seconds=0, now=later)
    assert why == "events.parquet is a link to nothing, or has just gone"


def test_a_delivery_with_a_link_to_nothing_has_not_arrived(look, source):
    link = source / "users.parquet"
    link.symlink_to("nowhere")
    assert [look(second) for second in (0, 60, 120)] == [None] * 3
    link.unlink()
    assert look(180) is None
    assert look(180 + SETTLED) is not None
