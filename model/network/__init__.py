"""Torch modules and nothing but: towers, HSTU, MoE, encoder, decoder, losses, checkpoint."""
