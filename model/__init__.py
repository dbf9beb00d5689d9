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
# that. Giving up soon costs the smallest networks a tenth of their speed on an idle machine and
# larger ones nothing, and spares everybody the collapse on a busy one (bench_waiting).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
