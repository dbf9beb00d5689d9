"""Freed memory stays with the process: seen from outside, in a process of its own."""

import subprocess
import sys

BLOCKS, STEPS, NUMBERS, PAGE_BYTES = 10, 10, 4_000_000, 4096
FAULTS = f"""
import resource, torch
from model.training.memory import keep_freed_memory
assert keep_freed_memory()
def step():
    return sum(block.numel() for block in [torch.zeros({NUMBERS}) for _ in range({BLOCKS})])
for _ in range(4):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({STEPS}):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_blocks_that_every_step_asks_for_cause_hardly_any_page_faults():
    """Without, every page of every block is made anew wherever the blocks end the heap."""
    pages = STEPS * BLOCKS * NUMBERS * 4 // PAGE_BYTES
    done = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True)
    assert int(done.stdout) < 0.01 * pages
