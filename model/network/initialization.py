"""Initial weights of linear layers."""

from torch import nn


def initialize(*layers: nn.Linear) -> None:
    """Xavier-normal weights, as in the paper's code; biases at zero."""
    for layer in layers:
        nn.init.xavier_normal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
