"""The memory that the making of an artefact took."""

import resource

from assets.peak_memory import note_worker, peak_memory_bytes, reset_peak_memory


def test_the_memory_of_a_worker_counts_until_the_next_measurement():
    reset_peak_memory()
    usage = resource.struct_rusage([0, 0, 2**40, *[0] * 13])
    note_worker(usage)
    assert peak_memory_bytes() == 2**50
    reset_peak_memory()
    assert 0 <= peak_memory_bytes() < 2**50
