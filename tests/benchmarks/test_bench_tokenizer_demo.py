"""The benchmark on real vectors runs on any that lie as the demo's do, and says where none lie."""

import re
import sys

import pytest

from tests.benchmarks import bench_tokenizer_demo as bench
from tests.orchestration.tiny_world import write_tiny_params
from tests.tiny import write_tiny_world


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Gives the printed lines of a run on a folder of raw files."""

    def run(source):
        loose = {f"max_{share}_rate": 1.0 for share in ("invalid", "zero", "duplicate")}
        loose |= {f"min_{share}rate": 0.1 for share in ("", "candidate_", "traffic_")}
        file = write_tiny_params(
            tmp_path / "params.yaml",
            raw_data={"format": "tencent_parquet", "source": str(source)},
            coverage_report={"thresholds": {"default": loose}},
        )
        monkeypatch.setattr(sys, "argv", ["bench_tokenizer_demo", "--params", str(file)])
        bench.main()
        return capsys.readouterr().out.splitlines()

    return run


def test_items_get_distinct_ids_and_the_same_again(run, tmp_path):
    *_, took, twins, distinct, again = run(write_tiny_world(tmp_path).root("tencent_parquet"))
    assert took.endswith(" of 60 s")
    covered = re.search(r"% of (\d+) items share their vector", twins)[1]
    assert distinct == f"distinct semantic IDs: {covered} of {covered} items"
    assert again == "a second run gives the same codes: True"


def test_where_the_files_are_absent_it_says_so(run, tmp_path):
    (line,) = run(tmp_path / "elsewhere")
    assert line.startswith(f"{tmp_path / 'elsewhere'}: no such folder")
