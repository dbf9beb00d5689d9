"""The library: all of the method, importable without Dagster, DVC, Great Expectations or Optuna.

Floors, each importing only what stands below it, as import-linter has them in pyproject.toml:

``scaling``                     trainings of several sizes in, laws of their losses out
``training`` | ``inference``    batches in, checkpoint out | checkpoint in, ten items per user out
``network`` | ``tokenizer``     torch modules and losses | residual k-means and semantic IDs
``dataset``                     raw files in, one memory-mapped store and its batches out
``compiled`` | ``metrics`` | ``params`` | ``pictures`` | ``progress`` | ``sources``
``artifact``                    values in folders that appear whole or not at all
``partial_folders``             such folders while they are written
``errors``                      what a user's input can cause

A GPU machine that only trains may lack pydantic, duckdb, faiss, numba and Dagster: ``network`` but
for the CPU's kernels, ``training``, and what opens the artefacts that it reads are importable
without. tests/model/training/test_training.py, test_optimizers.py beside it and
tests/model/tokenizer/test_codebook.py hold this.
"""

import os

# GNU's OpenMP reads it when it is loaded, so before torch. Left to itself a thread waits for its
# team by spinning for milliseconds; where another process has one of the cores, all cores go into
# that. Giving up soon costs the smallest networks a tenth of their speed on an idle machine and
# larger ones nothing, and spares everybody the collapse on a busy one (bench_waiting).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
