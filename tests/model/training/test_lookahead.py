"""One step ahead, in order, with errors where they belong."""

import threading

import pytest

from model.training.lookahead import Lookahead


def test_gives_every_step_and_has_made_the_next_one():
    made, ready = [], threading.Event()

    def make(step):
        made.append((step, threading.current_thread() is threading.main_thread()))
        ready.set()
        return [step]

    lookahead = Lookahead(make, num_steps=3)
    assert lookahead(0) == [0]
    assert lookahead(1) == [1]
    assert lookahead(2) == [2]
    assert sorted(made) == [(0, True), (1, False), (2, False)]
    assert lookahead(7) == [7]  # of a training that goes on elsewhere


def test_an_error_reaches_the_step_that_it_belongs_to():
    def make(step):
        if step == 1:
            raise OSError("the disk is gone")
        return [step]

    lookahead = Lookahead(make, num_steps=5)
    assert lookahead(0) == [0]
    with pytest.raises(OSError, match="gone"):
        lookahead(1)
