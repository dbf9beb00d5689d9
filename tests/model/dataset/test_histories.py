"""Events wait on the output's disk, and one that is full is refused in a sentence."""

import tempfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from model import artifact
from model.dataset import histories
from model.dataset.histories import EventLog, check_times, warn_if_all_cold
from model.dataset.readers import read_interactions
from model.errors import InputError
from model.params import InteractionsParams, SplitParams
from tests.tiny import FORMATS, write_tiny_world

Usage = namedtuple("Usage", ["total", "used", "free"])
EVENTS = {
    "lengths": np.array([2, 1]),
    "item_ids": np.array([5, 3, 4]),
    "action_types": np.array([0, 1, 2]),
    "timestamps": np.array([10, 20, 30]),
}


@pytest.mark.parametrize("layout", FORMATS)
def test_every_reader_keeps_its_events_where_it_is_told(tmp_path, monkeypatch, layout):
    opened, original = [], tempfile.TemporaryFile

    def record(**options):
        opened.append(Path(options["dir"]))
        return original(**options)

    world = write_tiny_world(tmp_path / "world")
    monkeypatch.setattr(histories.tempfile, "TemporaryFile", record)
    split = SplitParams(strategy="leave_one_out", validation_fraction=1.0)
    read_interactions(world.raw_data(layout), InteractionsParams(split=split), 0, spool=tmp_path)
    assert set(opened) == {tmp_path}


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    log = EventLog(tmp_path)
    monkeypatch.setattr(artifact.shutil, "disk_usage", lambda folder: Usage(100, 62, 38))
    with pytest.raises(InputError, match="needs about 39 bytes and 38 are free"):
        log.append(**EVENTS)


def test_there_must_be_room_for_all_events_once_more_to_sort_them(tmp_path, monkeypatch):
    log = EventLog(tmp_path)
    log.append(**EVENTS)
    events = log.finish()
    monkeypatch.setattr(artifact.shutil, "disk_usage", lambda folder: Usage(100, 62, 38))
    with pytest.raises(InputError, match="all events in order of their users needs about 39"):
        EventLog.reordered(events, np.array([1, 0]), tmp_path)


def test_a_disk_that_fills_up_all_the_same(tmp_path):
    log = EventLog(tmp_path)
    full = log._files["item_ids"] = Path("/dev/full").open("wb")  # noqa: SIM115
    with pytest.raises(InputError, match=r"12 bytes of the events: the disk filled up while"):
        log.append(**EVENTS)
    with pytest.raises(OSError):
        full.close()  # which tries once more


def test_seconds_of_any_year_are_told_from_milliseconds():
    check_times(np.array([0, 95_617_584_000]), str)  # the year 5000
    with pytest.raises(InputError, match=r"^1: timestamp 126230400000 is not in unix seconds"):
        check_times(np.array([0, 126_230_400_000]), str)  # milliseconds of 1974


def test_candidates_without_any_item_of_the_data_are_no_other_data_set(caplog):
    warn_if_all_cold(Path("candidates"), pa.array(["a"]), pa.array([], pa.string()))
    assert caplog.text == ""
