"""The benchmark of re-assignment draws time against items."""

import sys

from tests.benchmarks import bench_tokenizer_reassignment as bench


def test_the_slope_of_the_drawn_line_is_told(monkeypatch, capsys, tmp_path):
    drawn = bench.World.drawn
    monkeypatch.setattr(bench.World, "drawn", lambda num_items, size: drawn(1000, 64))
    file = tmp_path / "linear.png"
    monkeypatch.setattr(sys, "argv", ["bench_tokenizer_reassignment", "--linear", str(file)])
    bench.main()
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 5  # four numbers of items, and the slope
    assert printed[-1].startswith("seconds grow with items to the power of ")
    assert file.read_bytes().startswith(b"\x89PNG")
