"""The library: all of the method, importable without Dagster, DVC, Great Expectations or Optuna.

Floors, each importing only what stands below it:

``training`` | ``inference``    batches in, checkpoint out | checkpoint in, ten items per user out
``network`` | ``tokenizer``     torch modules and losses | residual k-means and semantic IDs
``dataset``                     raw files in, one memory-mapped store and its batches out
``metrics`` | ``params`` | ``artifact`` | ``errors`` | ``progress`` | ``compiled``
"""
