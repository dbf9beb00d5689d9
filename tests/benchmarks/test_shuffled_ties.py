"""The shuffled copy is a data set that the reader takes, and only ties have moved."""

from pathlib import Path

import pytest

from model.dataset.atomic_file import read_atomic_file
from tests.benchmarks.shuffled_ties import shuffle_ties

HEADER = "user_id:token\titem_id:token\ttimestamp:float\n"


def _shuffled(folder: Path, times: list[int]) -> list[tuple[str, str, float]]:
    """One user's events and a bystander's, item ``i0`` first, after the shuffle."""
    source = folder / "source"
    source.mkdir()
    events = [("u", f"i{n}", time) for n, time in enumerate(times)] + [("v", "i0", 7)]
    lines = ["\t".join(map(str, event)) + "\n" for event in events]
    (source / "shop.inter").write_text(HEADER + "".join(lines))
    (source / "shop.item").write_text("item_id:token\ttitle:token_seq\ni0\tred shoe\n")
    shuffle_ties(source, folder / "copy", seed=1)
    assert (folder / "copy" / "shop.item").exists()
    read = read_atomic_file(folder / "copy" / "shop.inter", ("user_id", "item_id", "timestamp"))
    users, items = (read.strings(name).to_pylist() for name in ("user_id", "item_id"))
    return list(zip(users, items, read.numbers("timestamp").tolist(), strict=True))


def test_events_of_one_time_change_places_and_no_others(tmp_path):
    times = [1, 2, *[3] * 20, 4]
    events = _shuffled(tmp_path, times)
    own = [item for user, item, _ in events if user == "u"]
    assert [time for user, _, time in events if user == "u"] == times
    assert own[:2] == ["i0", "i1"]
    assert own[-1] == "i22"
    assert sorted(own[2:-1]) == sorted(f"i{n}" for n in range(2, 22))
    assert own[2:-1] != [f"i{n}" for n in range(2, 22)]
    assert ("v", "i0", 7.0) in events


@pytest.mark.parametrize(
    "form", ["{:010d}", "{}.10", "{:026d}", '"{}"', 'i"{}', "1e{}", "00{}", "\u00e9{}", "NA{}"]
)
def test_cells_are_written_as_they_were_read(tmp_path, form):
    """Numbers, quotes and words that a reader of tables would make something else of."""
    lines = [f"{form.format(user)}\t{form.format(n)}\t3.50" for user in (1, 2) for n in range(12)]
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "shop.inter").write_text(HEADER + "\n".join(lines) + "\n")
    shuffle_ties(tmp_path / "source", tmp_path / "copy", seed=1)
    header, *copied = (tmp_path / "copy" / "shop.inter").read_text().split("\n")
    assert header + "\n" == HEADER
    assert sorted(copied) == sorted([*lines, ""])
    assert copied != [*lines, ""]


def test_positions_instead_of_times_are_shuffled_among_assumed_ties(tmp_path):
    events = _shuffled(tmp_path, list(range(200)))
    own = [item for user, item, _ in events if user == "u"]
    assert [time for user, _, time in events if user == "u"] == list(range(200))
    assert sorted(own) == sorted(f"i{n}" for n in range(200))
    assert own != [f"i{n}" for n in range(200)]
