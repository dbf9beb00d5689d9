"""torch and faiss each bring an OpenMP runtime: they must work together, whichever comes first."""

import subprocess
import sys
from pathlib import Path

import pytest

USE_BOTH = """
import numpy as np
points = np.random.default_rng(0).standard_normal((400, 8)).astype(np.float32)
index = faiss.IndexFlatIP(8)
index.add(points)
_, found = index.search(points, 10)
expected = (torch.from_numpy(points) @ torch.from_numpy(points).T).topk(10).indices
assert (found == expected.numpy()).all()
"""


@pytest.mark.parametrize("order", ["import faiss, torch", "import torch, faiss"])
def test_either_may_be_imported_first(order):
    done = subprocess.run(
        [sys.executable, "-c", order + USE_BOTH],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
