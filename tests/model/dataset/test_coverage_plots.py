"""The pictures of coverage show what the figures say."""

import numpy as np
from matplotlib.figure import Figure

from model.dataset.coverage_plots import _draw_time


def test_weeks_without_events_are_a_gap_of_their_length():
    weeks = {"2024-11-04": 0.9, "2024-11-11": 0.8, "2024-12-02": 0.4}
    axes = Figure().add_subplot()
    _draw_time(axes, [{"week": w, "rate": r, "new_item_rate": None} for w, r in weeks.items()])
    drawn = np.asarray(axes.lines[0].get_ydata())
    np.testing.assert_array_equal(drawn, [0.9, 0.8, np.nan, np.nan, 0.4])
    days = np.diff(np.asarray(axes.lines[0].get_xdata(orig=False), float))
    assert days.tolist() == [7.0] * 4
