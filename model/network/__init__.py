"""Torch modules only: towers, HSTU, MoE, encoder, decoder, losses, checkpoint."""
