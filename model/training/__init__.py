"""Batches in, checkpoint out: optimisers, schedule, loop, the torchrun worker."""
