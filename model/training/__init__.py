"""Batches in, checkpoint out: optimisers, schedule, loop, the torchrun worker."""

# The two trainings: each an asset, its folder and its section of the parameters.
ENCODER, RECOMMENDER = "encoder_checkpoint", "recommender_checkpoint"
