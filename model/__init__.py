"""The library: all of the method, importable without Dagster, DVC, Great Expectations or Optuna.

Layers, each importing only those below it, as import-linter enforces (pyproject.toml):

``scaling``                     trainings of several sizes in, laws of their losses out
``training`` | ``inference``    batches in, checkpoint out | checkpoint in, ten items per user out
``network`` | ``tokenizer``     torch modules and losses | residual k-means and semantic IDs
``dataset``                     raw files in, one memory-mapped store and its batches out
``compiled`` | ``metrics`` | ``params`` | ``pictures`` | ``progress`` | ``sources``
``artifact``                    values in folders that are written atomically
``partial_folders``             such folders while they are written
``errors``                      what a user's input can cause

A GPU machine that only trains may lack pydantic, duckdb, faiss, numba and Dagster: ``network``
except the CPU's kernels, ``training``, and what opens the artefacts that it reads can be imported
without them. tests/model/training/test_training.py, test_optimizers.py beside it and
tests/model/tokenizer/test_codebook.py check this.
"""

import os

# Set before torch loads GNU's OpenMP, which reads it then. By default a thread waits for its team
# by spinning for milliseconds; where another process occupies a core, all cores are spent on that.
# A short spin costs the smallest networks a tenth of their speed on an idle machine and larger ones
# nothing, and avoids the collapse on a busy one (bench_waiting).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
