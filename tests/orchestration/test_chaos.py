"""Two kills of `python -m tests.chaos`; the command itself makes as many as one likes."""

import random

import pytest

from tests.chaos import Chaos


@pytest.mark.long
@pytest.mark.parametrize("victim", ["dvc repro", "onepiece materialize"])
def test_a_killed_command_given_again_leaves_nothing_undone(reproduced, victim):
    Chaos(reproduced, random.Random(0)).round(victim, "cascade.num_sids", latest=8.0)
