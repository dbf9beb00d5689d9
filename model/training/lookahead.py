"""Prefetching: a thread assembles the next step's batches while a GPU computes this one."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from model.dataset.sequences import Batch


class Lookahead:
    """Prefetches batches one step ahead.

    The batches of a step follow from its number alone, so that results do not depend on timing. An
    error in the thread is raised where the step is asked for.
    """

    def __init__(self, make: Callable[[int], list[Batch]], num_steps: int) -> None:
        """Begin with nothing prefetched.

        Args:
            make: builds the batches of a step.
            num_steps: steps in all; none is prefetched past the last.
        """
        self._make, self._num_steps = make, num_steps
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lookahead")
        self._coming: dict[int, Future[list[Batch]]] = {}

    def __call__(self, step: int) -> list[Batch]:
        """The batches of a step; starts prefetching those of the next."""
        coming = self._coming.pop(step, None)
        self._coming.clear()
        if step + 1 < self._num_steps:
            self._coming[step + 1] = self._thread.submit(self._make, step + 1)
        return self._make(step) if coming is None else coming.result()
