"""The library: all of the method, importable without Dagster, DVC, Great Expectations or Optuna.

Floors, each importing only what stands below it:

``training`` | ``inference``    batches in, checkpoint out | checkpoint in, ten items per user out
``network`` | ``tokenizer``     torch modules and losses | residual k-means and semantic IDs
``dataset``                     raw files in, one memory-mapped store and its batches out
``metrics`` | ``params`` | ``artifact`` | ``errors`` | ``progress`` | ``compiled``
"""

import os

# GNU's OpenMP reads it when it is loaded, so before torch. Left to itself a thread waits for its
# team by spinning for milliseconds; where another process has one of the cores, all cores go into
# that. This is as fast where nobody else wants the cores, and spares them where somebody does.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
