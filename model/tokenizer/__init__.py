"""Items in, semantic IDs out: residual k-means, greedy re-assignment, the codebook."""
