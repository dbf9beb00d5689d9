"""Which model a point of the study trains: from its name to the parameters of the pipeline.

``joint_l4_d64_e8_f100_s0`` is the protocol, the layers, the width, the experts, the percentage of
training users and the seed. Everything else is as the parameter file says, in proportion: heads
keep their width, and the feed-forward part keeps its ratio to the width.
"""

import re
from dataclasses import dataclass
from typing import Any, Self

from model.errors import InputError
from model.params import POINT_NAME, Params
from model.training import ENCODER, RECOMMENDER

INFONCE_ONLY, SID_ONLY = "infonce_only", "sid_only"
NO_FEED_FORWARD, DENSE = 0, 1  # experts; more are routed


@dataclass(frozen=True)
class Point:
    """One training of the study.

    Attributes:
        protocol: ``joint``, or the paper's separate ``infonce_only`` and ``sid_only``.
        layers: of the encoder; under ``sid_only`` of the decoder's second level as well.
        width: of the hidden states.
        experts: routed ones per layer; 1 is a dense SwiGLU, 0 no feed-forward part (paper's HSTU).
        percent: of the training users.
        seed: of weights, order, dropout and of which users those are.
    """

    protocol: str
    layers: int
    width: int
    experts: int
    percent: int
    seed: int

    @property
    def name(self) -> str:
        """The point's name, which is also its partition."""
        shape = f"l{self.layers}_d{self.width}_e{self.experts}"
        return f"{self.protocol}_{shape}_f{self.percent}_s{self.seed}"

    @property
    def asset(self) -> str:
        """The asset whose training parameters apply."""
        return ENCODER if self.protocol == INFONCE_ONLY else RECOMMENDER

    @property
    def trains_infonce(self) -> bool:
        """Whether InfoNCE is trained."""
        return self.protocol != SID_ONLY

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read a point's name.

        Raises:
            InputError: it is not a valid name.
        """
        found = re.fullmatch(POINT_NAME, name)
        if found is None:
            raise InputError(f"{name}: not a point of the study; one is joint_l4_d64_e8_f100_s0")
        protocol, *numbers = found.groups()
        return cls(protocol, *map(int, numbers))

    def apply(self, params: Params) -> Params:
        """The parameters of this point's training and evaluation.

        Raises:
            InputError: the width is not a multiple of the heads' width, there are fewer experts
                than ``top_k``, or the file switches off a loss that the protocol trains.
        """
        values = params.model_dump(mode="json")
        values["seed"] = self.seed
        values["network"] |= self._network(params)
        for asset in (ENCODER, RECOMMENDER):
            values[asset] |= {"initialize_from_encoder": False, "patience": 0}
        loss = values[self.asset]["loss"]
        if self.protocol == INFONCE_ONLY:
            loss["sid_weights"] = []
        elif self.protocol == SID_ONLY:
            loss["infonce_weight"] = 0.0
        self._require_losses(loss)
        return Params.model_validate(values)

    def _require_losses(self, loss: dict[str, Any]) -> None:
        """Require a weight in the parameter file for every loss that the protocol trains."""
        for key, needed in (
            ("infonce_weight", self.trains_infonce),
            ("sid_weights", self.protocol != INFONCE_ONLY),
        ):
            if needed and not loss[key]:
                raise InputError(
                    f"scaling_study.points: {self.name} trains a loss that {self.asset}.loss.{key} "
                    f"({loss[key]}) switches off; give it a weight or choose another protocol"
                )

    def _network(self, params: Params) -> dict[str, Any]:
        base = params.network
        head = base.dim // base.num_heads
        if self.width % head:
            raise InputError(
                f"scaling_study.points: {self.name} has width {self.width}, which is no multiple "
                f"of {head}, the width of a head of network"
            )
        feed_forward = base.feed_forward.model_dump(mode="json")
        feed_forward["hidden_dim"] = max(1, base.feed_forward.hidden_dim * self.width // base.dim)
        feed_forward["kind"] = {NO_FEED_FORWARD: "none", DENSE: "dense"}.get(self.experts, "moe")
        if self.experts > DENSE:
            feed_forward["num_experts"] = self.experts
        if self.experts > DENSE and base.feed_forward.top_k > self.experts:
            raise InputError(
                f"scaling_study.points: {self.name} has fewer experts than "
                f"network.feed_forward.top_k {base.feed_forward.top_k}"
            )
        deep = self.protocol == SID_ONLY
        return {
            "num_layers": self.layers,
            "dim": self.width,
            "num_heads": self.width // head,
            "num_decoder_layers": self.layers if deep else base.num_decoder_layers,
            "feed_forward": feed_forward,
        }
