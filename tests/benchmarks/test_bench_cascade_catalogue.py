"""The benchmark of the cascade tells the recall of the inverted lists beside their time."""

import sys

import faiss
import torch

from tests.benchmarks import bench_cascade_catalogue as bench


def test_inverted_lists_stand_in_the_table_with_their_recall(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(bench, "SIZE", 32)
    monkeypatch.setattr(bench, "DECODERS", {"cascade, small": (8, 1)})
    threads = torch.get_num_threads()
    monkeypatch.setattr(faiss, "omp_set_num_threads", lambda threads: None)  # would stay
    small = f"--sizes 400 600 --users 4 --turns 1 --threads {threads} --out {tmp_path / 'plot.png'}"
    monkeypatch.setattr(sys, "argv", ["bench_cascade_catalogue", *small.split()])
    bench.main()
    printed = capsys.readouterr().out.splitlines()
    lists = [line for line in printed if bench.IVF in line]
    assert [line.split()[0] for line in lists] == ["400", "600"]
    for line in lists:
        assert " ms " in line
        # Two of the four users chose the probes; the others, who measure, may find a little less.
        assert 0.7 <= float(line.split("recall@10")[1]) <= 1
    assert sum("recall" in line for line in printed) == 2
