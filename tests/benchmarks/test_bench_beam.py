"""The benchmark of the beam search answers at any size, and says that the results are the same."""

import sys

import torch

from tests.benchmarks import bench_beam


def test_fewer_codes_than_are_asked_for_are_no_obstacle(monkeypatch, capsys):
    threads = torch.get_num_threads()
    small = "--size 8 --items 40 --users 2 --dim 16 --layers 1 --turns 1 --reference-users 2 8"
    monkeypatch.setattr(sys, "argv", ["bench_beam", *small.split(), "--threads", str(threads)])
    bench_beam.main()
    printed = capsys.readouterr().out
    assert "same semantic IDs: 1.0000" in printed
    assert "reference, 8 at once" not in printed  # of two users there are never more at once
