"""The data: readers of every input format, one memory-mapped store, its batches."""
