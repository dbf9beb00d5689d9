"""How linear layers begin."""

from torch import nn


def initialize(*layers: nn.Linear) -> None:
    """Xavier-normal weights, as the paper's code has them; biases at zero."""
    for layer in layers:
        nn.init.xavier_normal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
