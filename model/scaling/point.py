"""The result of one training of the study."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from model.artifact import atomic_folder, read_json, write_json
from model.errors import InputError
from model.scaling.grid import Point
from model.scaling.rows import write_csv

FACTS, TIMING, HISTORY = "point.json", "timing.json", "history.csv"
PATHS = ("embedding", "sid", "cascade")
METRICS = ("hr@10", "ndcg@10", "score")
# Dense bf16 FLOPs per second, by a part of the device's name, as the manufacturer states them.
PEAK_FLOPS = {"A100": 312e12, "H100": 989e12, "H200": 989e12, "H20": 148e12, "L40S": 362e12}


@dataclass(frozen=True)
class Size:
    """Parameters of a network.

    Attributes:
        total: all of them.
        parameters: those outside embedding tables, the size by which laws are fitted.
        active: those of them that one token uses: of the routed experts only ``top_k``.
    """

    total: int
    parameters: int
    active: int


@dataclass(frozen=True)
class Workload:
    """The contents of a training's first step; the others are similar.

    Attributes:
        rows: rows per token, each with a user token.
        items: distinct items per token.
        attended: tokens that a token attends to, itself included.
        negatives: distinct items of a micro-batch, to which every token is compared.
    """

    rows: float
    items: float
    attended: float
    negatives: float


@dataclass(frozen=True)
class Timing:
    """How long the training took; the only part that is not reproducible.

    Attributes:
        seconds: of all its steps, without validation and evaluation.
        processes: that worked together, one per device.
        device: of each.
    """

    seconds: float
    processes: int
    device: str


@dataclass(frozen=True)
class ScalingPoint:
    """One training of the study, measured.

    Attributes:
        point: what was trained.
        size: of the network.
        workload: of its steps.
        flops_per_token: of training.
        tokens: that it saw.
        steps: that it made.
        final_losses: per loss ``mean``, ``std`` and ``steps``, of its last hundred steps.
        validation_losses: per loss, of the validation users' targets, without dropout.
        metrics: per path ``hr@10``, ``ndcg@10`` and ``score`` on the full catalogue; a path that
            the protocol does not train is left out.
        timing: of this run.
        history: rows of the training's history.
    """

    point: Point
    size: Size
    workload: Workload
    flops_per_token: float
    tokens: int
    steps: int
    final_losses: Mapping[str, Mapping[str, float]]
    validation_losses: Mapping[str, float]
    metrics: Mapping[str, Mapping[str, float]]
    timing: Timing
    history: list[dict[str, Any]]

    @property
    def losses(self) -> tuple[str, ...]:
        """The trained losses: ``infonce``, ``sid1``, ``sid2``, ..., or some of them."""
        return tuple(self.final_losses)

    @property
    def flops(self) -> float:
        """FLOPs of the whole training."""
        return self.flops_per_token * self.tokens

    @property
    def tokens_per_second(self) -> float:
        """Throughput of all processes together."""
        return self.tokens / max(self.timing.seconds, 1e-9)

    @property
    def model_flops_utilisation(self) -> float | None:
        """Share of the devices' dense bf16 peak; None for a device whose peak is not known."""
        known = [peak for name, peak in PEAK_FLOPS.items() if name in self.timing.device]
        if not known:
            return None
        return self.flops_per_token * self.tokens_per_second / (known[0] * self.timing.processes)

    def row(self) -> dict[str, Any]:
        """The point as a row of the study's table."""
        losses = {name: found["mean"] for name, found in self.final_losses.items()}
        spreads = {f"{name}_std": found["std"] for name, found in self.final_losses.items()}
        validation = {f"validation_{name}": value for name, value in self.validation_losses.items()}
        metrics = {
            f"{path}_{name}": found[name]
            for path, found in self.metrics.items()
            for name in METRICS
        }
        return {
            "point": self.point.name,
            **asdict(self.point),
            **asdict(self.size),
            "tokens": self.tokens,
            "steps": self.steps,
            "flops": self.flops,
            **losses,
            **spreads,
            **validation,
            **metrics,
            "seconds": round(self.timing.seconds, 1),
            "tokens_per_second": round(self.tokens_per_second, 1),
            "flops_per_second": self.flops_per_token * self.tokens_per_second,
            "mfu": self.model_flops_utilisation,
            "device": self.timing.device,
            "processes": self.timing.processes,
        }

    def save(self, folder: Path) -> None:
        """Write point.json, timing.json and history.csv."""
        facts = {
            "point": self.point.name,
            "size": asdict(self.size),
            "workload": asdict(self.workload),
            "flops_per_token": self.flops_per_token,
            "tokens": self.tokens,
            "steps": self.steps,
            "final_losses": self.final_losses,
            "validation_losses": self.validation_losses,
            "metrics": self.metrics,
            "history": self.history,
        }
        with atomic_folder(folder, needed_bytes=1_000_000) as out:
            write_json(out / FACTS, facts)
            write_json(out / TIMING, asdict(self.timing))
            write_csv(self.history, out / HISTORY)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: missing or damaged, with the file's name.
        """
        facts, timing = read_json(Path(folder) / FACTS), read_json(Path(folder) / TIMING)
        try:
            return cls(
                **facts
                | {
                    "point": Point.parse(facts["point"]),
                    "size": Size(**facts["size"]),
                    "workload": Workload(**facts["workload"]),
                    "timing": Timing(**timing),
                }
            )
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{Path(folder) / FACTS}: of another version of the code ({error}); make the point "
                "again"
            ) from None
