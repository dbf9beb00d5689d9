"""Freed memory stays with the process: seen from outside, in a process of its own."""

import subprocess
import sys

FAULTS = """
import resource, torch
from model.training.memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
def step():
    return sum(block.numel() for block in [torch.zeros(4_000_000) for _ in range(10)])
for _ in range(4):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(*, keep: bool) -> int:
    command = [sys.executable, "-c", FAULTS.format(keep=keep)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_blocks_that_every_step_asks_for_cause_hardly_any_page_faults():
    assert page_faults(keep=True) < 0.1 * page_faults(keep=False)
