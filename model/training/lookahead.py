"""The batches of the next step, assembled in a thread while a GPU computes this one."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from model.dataset.sequences import Batch


class Lookahead:
    """Gives the batches of step after step, one step ahead of whoever takes them.

    What a step is made of follows from its number alone, so that nothing depends on when it is
    made. An error in the thread reaches the one who takes the step.
    """

    def __init__(self, make: Callable[[int], list[Batch]], num_steps: int) -> None:
        """Begin with nothing made.

        Args:
            make: the batches of a step.
            num_steps: none is made from this one on.
        """
        self._make, self._num_steps = make, num_steps
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lookahead")
        self._coming: dict[int, Future[list[Batch]]] = {}

    def __call__(self, step: int) -> list[Batch]:
        """The batches of a step; the next one's are begun."""
        coming = self._coming.pop(step, None)
        self._coming.clear()
        if step + 1 < self._num_steps:
            self._coming[step + 1] = self._thread.submit(self._make, step + 1)
        return self._make(step) if coming is None else coming.result()
