"""Batches in, checkpoint out: the training loop and its state.

Everything that decides the next step is in the state that :meth:`Trainer.state` returns, so that a
training that is killed and resumed ends bitwise equal to one that was not, on one kind of CPU with
the same number of processes and threads. On a GPU last bits may differ: gradients of the
attention's biases are added up atomically there, in no fixed order.
"""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from model.dataset.sequences import SequenceDataset
from model.network.checkpoint import weights_of
from model.training.distributed import World, average_sparse_gradients, same_everywhere, total
from model.training.ema import ExponentialMovingAverage
from model.training.finiteness import all_finite, not_finite
from model.training.lookahead import Lookahead
from model.training.objective import Objective, Totals
from model.training.optimizers import build_optimizers
from model.training.order import Order
from model.training.progress_report import ProgressReport
from model.training.random_state import generators, restore_generators
from model.training.recorder import Recorder
from model.training.resume import State, StateFolder
from model.training.schedule import learning_rate_factor
from model.training.sharded_state import ShardedState
from model.training.training_batches import TrainingBatches
from model.training.validation import Validation

if TYPE_CHECKING:
    from model.params import OptimizerParams, TrainingParams

logger = logging.getLogger("onepiece")


@dataclass
class Progress:
    """Where a training stands, besides its tensors and its history.

    Attributes:
        step: finished steps.
        best: validation NDCG@10 of the best weights so far, -1 before the first.
        waited: validations since then.
        stopped: whether early stopping ended the training, with steps left.
        seconds: that the steps took, without validations.
    """

    step: int = 0
    best: float = -1.0
    waited: int = 0
    stopped: bool = False
    seconds: float = 0.0


class Trainer:
    """One training on one process of a world."""

    def __init__(
        self,
        what: str,
        *,
        objective: Objective,
        dataset: SequenceDataset,
        validation: Validation,
        params: "TrainingParams",
        optimizer_params: "OptimizerParams",
        seed: int,
        world: World,
        rates: Mapping[str, float],
    ) -> None:
        """Set everything up.

        Args:
            what: the training's name, for the log.
            objective: the network under its losses, on the world's device.
            dataset: gives rows.
            validation: guides early stopping.
            params: of this training.
            optimizer_params: of the optimisers.
            seed: of order and dropout.
            world: of processes.
            rates: name -> factor on a parameter's learning rate, 1 where unnamed.
        """
        self.what, self.objective, self.dataset = what, objective, dataset
        self.validation, self.params, self.optimizer_params = validation, params, optimizer_params
        self.seed, self.world = seed, world
        self.network = objective.network
        self.order = Order(dataset.training_users(), params.batch_size, params.epochs, seed)
        self.sharded = ShardedState(self.network, world)
        self.optimizers = build_optimizers(self.network, optimizer_params, rates)
        self.batches = TrainingBatches(self.order, dataset, params, seed, world)
        decay = optimizer_params.ema_decay
        self.average = ExponentialMovingAverage(self.network, decay) if decay else None
        self.best_weights: dict[str, Tensor] = {}
        self.progress = Progress()
        self.recorder = Recorder(params.loss, self.network.experts(), self.order)
        self.parallel = self._parallel()
        ahead = world.device.type == "cuda"  # on the CPU a thread would slow the step
        self.upcoming = Lookahead(self.batches, self.order.num_steps) if ahead else self.batches
        self.newest_state: Callable[[], Path | None] = lambda: None
        torch.manual_seed(seed * 1_000_003 + world.rank)

    def run(
        self,
        states: StateFolder,
        interrupted: Callable[[], bool],
        on_keep: Callable[[], None] = lambda: None,
    ) -> bool:
        """Train to the end, or until interrupted.

        Args:
            states: where the state is saved every ``checkpoint_minutes``.
            interrupted: asked after every step; if true, the state is saved and the run ends.
            on_keep: called after it is saved.

        Returns:
            Whether the training is finished.

        Raises:
            InputError: loss or gradient is not finite; names the step and its users.
        """
        self.newest_state = states.newest
        report = ProgressReport(
            self.what,
            self.progress.step,
            self.order.num_steps,
            self.network.experts(),
            silent=not self.world.is_first,
        )
        saved = time.monotonic()
        while self.progress.step < self.order.num_steps and not self.progress.stopped:
            begun = time.monotonic()
            tokens, terms = self._step(self.progress.step)
            self.progress.seconds += time.monotonic() - begun
            step = self.progress.step = self.progress.step + 1
            validates = self._validates(step)
            if validates or self.recorder.is_due(step):
                self.recorder.record(step, self._factor(step - 1))
            report.advance(step, tokens, terms)
            if validates:
                report.validated(step, self._validate())
            stopping = self._any(interrupted())
            minutes = (time.monotonic() - saved) / 60
            if stopping or self._any(minutes >= self.params.checkpoint_minutes):
                self._keep(states)
                on_keep()
                saved = time.monotonic()
            if stopping:
                report.close()
                return False
        report.close()
        self._require_finite_weights()
        return True

    def final_weights(self) -> dict[str, Tensor]:
        """The best weights under early stopping, else the average, else the last.

        With several processes, all must call it; the first gets whole tables.
        """
        if self.best_weights:
            return self.sharded.whole(self.best_weights)
        applied = self.average.applied(self.network) if self.average is not None else nullcontext()
        with applied:
            return self.sharded.whole(weights_of(self.network))

    def final_ndcg(self) -> float | None:
        """Validation NDCG@10 of the final weights; None without validation."""
        if self.best_weights:
            return self.progress.best
        return self.recorder.last("ndcg@10")

    def state(self) -> State:
        """Everything that decides the next step; with several processes, all must call it."""
        tensors = {
            "objective": self.objective.state_dict(),
            "optimizers": self.optimizers.state_dict(),
            "running": {"terms": self.recorder.sums, "newest": self.recorder.newest}
            | generators(self.world),
        }
        if self.average is not None:
            tensors["average"] = self.average.state_dict()
        if self.best_weights:
            tensors["best"] = self.best_weights
        tensors = {name: self.sharded.whole(group) for name, group in tensors.items()}
        return State(tensors, asdict(self.progress) | {"history": self.recorder.rows})

    def restore(self, state: State) -> None:
        """Resume from a state of the same task."""
        own = {name: self.sharded.own(group) for name, group in state.tensors.items()}
        self.objective.load_state_dict(own["objective"])
        self.optimizers.load_state_dict(own["optimizers"])
        if self.average is not None:
            self.average.load_state_dict(own["average"])
        self.best_weights = own.get("best", {})
        self.recorder.sums = state.tensors["running"]["terms"]
        self.recorder.newest = state.tensors["running"]["newest"]
        self.recorder.rows = state.facts["history"]
        restore_generators(state.tensors["running"], self.world)
        self.progress = Progress(**{one.name: state.facts[one.name] for one in fields(Progress)})

    def _parallel(self) -> nn.Module:
        if self.world.size == 1:
            return self.objective
        ignored = [f"network.{name}" for name in self.network.embedding_tables()]
        ignored += [name for name, _ in self.objective.named_buffers()]  # equal on all ranks
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(self.objective, ignored)
        return DistributedDataParallel(self.objective)

    def _step(self, step: int) -> tuple[int, dict[str, float]]:
        """One update of the weights: tokens of all processes and the terms to show."""
        self.objective.train()
        batches = self.upcoming(step)
        measured = torch.stack([self.objective.measure(one) for one in batches]).sum(dim=0)
        own = torch.tensor([sum(len(batch.rows) for batch in batches)]).to(measured)
        *sums, tokens = total(torch.cat([measured, own])).tolist()
        totals = Totals(*[max(value, 1e-12) for value in sums])
        self.optimizers.zero_grad()
        terms = torch.zeros(len(self.recorder.term_names), device=self.world.device)
        for place, batch in enumerate(batches):
            last = place == len(batches) - 1
            with self._accumulating(last):
                with self._autocast():
                    loss, parts = self.parallel(batch, totals)
                (loss * self.world.size).backward()
            terms += parts
        tables = self.network.embedding_tables()
        average_sparse_gradients(t for name, t in tables.items() if name not in self.sharded.tables)
        self.sharded.average_gradients()
        norm = self.optimizers.clip(self.optimizer_params.clip_norm, self.sharded.tables)
        factor = self._factor(step)
        terms = total(terms)
        if not all_finite(terms, norm):  # stop before a poisoned gradient reaches the weights
            # This step's all-reduce implies that the first process has finished saving.
            raise not_finite(self.what, step, self._users(step), self.newest_state())
        self.optimizers.step(factor)
        for experts in self.network.experts():
            experts.end_step()
        if self.average is not None:
            self.average.update(self.network)
        return int(tokens), self.recorder.add(terms, norm)

    def _accumulating(self, last: bool) -> Any:
        if last or not isinstance(self.parallel, DistributedDataParallel):
            return nullcontext()
        return self.parallel.no_sync()

    def _autocast(self) -> Any:
        if self.params.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.world.device.type, dtype=torch.bfloat16)

    def _factor(self, step: int) -> float:
        given = self.optimizer_params
        return learning_rate_factor(step, self.order.num_steps, given.warmup_share, given.schedule)

    def _users(self, step: int) -> list[str]:
        raw_ids = self.dataset.interactions.raw_user_ids
        return [str(raw_ids[int(user)]) for user in self.order.rows(step)]

    def _validates(self, step: int) -> bool:
        every = max(1, round(self.params.validate_every_epochs * self.order.steps_per_epoch))
        return self.validation.possible and (step % every == 0 or step == self.order.num_steps)

    def _validate(self) -> dict[str, float]:
        """Validate, and keep the best weights under early stopping; the same in all processes."""
        self._require_finite_weights()
        self.objective.eval()
        applied = self.average.applied(self.network) if self.average is not None else nullcontext()
        with applied:
            found = self.validation.measure(self.network, self.world.device)
            found = same_everywhere(found, self.world)
            self.recorder.append(self.progress.step, found)
            if self.params.patience and found["ndcg@10"] > self.progress.best:
                self.best_weights = weights_of(self.network)
        if found["ndcg@10"] > self.progress.best:
            self.progress.best, self.progress.waited = found["ndcg@10"], 0
        else:
            self.progress.waited += 1
        patience, more = self.params.patience, self.progress.step < self.order.num_steps
        self.progress.stopped = bool(patience) and self.progress.waited >= patience and more
        return found

    def _require_finite_weights(self) -> None:
        """Refuse to measure, keep or publish what an update too large for float32 has left."""
        if self._any(not all_finite(*self.network.parameters())):
            step = self.progress.step - 1
            users, kept = self._users(step), self.newest_state()
            raise not_finite(self.what, step, users, kept, updated=True)

    def _any(self, condition: bool) -> bool:
        """Whether it holds in any process, so that all do the same."""
        if self.world.size == 1:
            return condition
        return bool(total(torch.tensor(float(condition), device=self.world.device)) > 0)

    def _keep(self, states: StateFolder) -> None:
        self._require_finite_weights()
        state = self.state()
        if self.world.is_first:
            states.save(state)
