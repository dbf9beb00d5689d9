"""The watch over Dagster's code server: when it is started anew, and when it is left alone."""

import threading

import pytest
from dagster._core.errors import DagsterUserCodeUnreachableError

from orchestration.code_server import revive


class Proxy:
    """Answers as told; a reload brings back what stands behind it, unless it cannot."""

    def __init__(self, answers, stopped, *, reloads=True):
        self.answers, self.stopped, self.reloads = list(answers), stopped, reloads
        self.asked = self.reloaded = 0

    def ping(self, echo):
        self.asked += 1
        answer = self.answers.pop(0)
        if not self.answers:
            self.stopped.set()
        if not answer:
            raise DagsterUserCodeUnreachableError("nobody there")

    def reload_code(self, timeout):
        assert timeout > 0
        self.reloaded += 1
        if not self.reloads:
            raise DagsterUserCodeUnreachableError("nobody to say goodbye to")


@pytest.mark.parametrize(
    ("answers", "reloaded"),
    [
        ([True] * 6, 0),
        ([True, False, True, False, True], 0),
        ([True, False, False, True, True], 1),
        ([False, False, True, False, False, True], 2),
    ],
)
def test_reloads_after_two_silences(answers, reloaded):
    stopped = threading.Event()
    proxy = Proxy(answers, stopped)
    revive(lambda: proxy, stopped, lambda: False, seconds=0.001)
    assert proxy.asked == len(answers)
    assert proxy.reloaded == reloaded


def test_a_failed_reload_is_tried_again():
    stopped = threading.Event()
    proxy = Proxy([False] * 5, stopped, reloads=False)
    revive(lambda: proxy, stopped, lambda: False, seconds=0.001)
    assert proxy.reloaded == 2


@pytest.mark.parametrize("answer", [True, False])
def test_reloads_once_after_an_edit_whoever_answers(answer):
    stopped = threading.Event()
    proxy = Proxy([True, answer, True, True], stopped)
    edits = iter([False, True, False, False])
    revive(lambda: proxy, stopped, lambda: next(edits), seconds=0.001)
    assert proxy.reloaded == 1
