"""Laws from data with known constants, from the paper's own points, and from no law at all."""

import numpy as np
import pytest
from scipy import stats

from model.errors import InputError
from model.scaling.fits import ABOVE_FLOOR, NO_LAW, PLAIN, Fit, fit_losses
from model.scaling.laws import PowerLaw, fit_law
from model.scaling.residuals import Residuals

# The paper's five points of each loss: sizes as printed (billions), losses read off its figure 1.
INFONCE_SIZES = [0.0152, 0.0257, 0.0363, 0.0468, 0.0573]
SID_SIZES = [0.0341, 0.0446, 0.0551, 0.0657, 0.0762]
PAPER = {
    "infonce": (INFONCE_SIZES, [5.230, 5.215, 5.163, 5.159, 5.129]),
    "sid1": (SID_SIZES, [4.101, 4.095, 4.074, 4.040, 4.022]),
    "sid2": (SID_SIZES, [4.861, 4.748, 4.659, 4.609, 4.605]),
}


def _fit(x, losses, variables=("N",), samples=60, seed=0, levels=None):
    columns = np.asarray(x, float).reshape(len(losses), -1)
    return fit_losses(
        columns,
        np.asarray(losses),
        variables,
        levels=columns if levels is None else np.reshape(levels, columns.shape),
        samples=samples,
        confidence=0.9,
        seed=seed,
    )


@pytest.mark.parametrize(
    ("loss", "verdict", "printed", "r2", "rmse"),
    [
        ("infonce", PLAIN, {"E": 0.0, "A": 4.9226, "a": 0.0149}, 0.9242, 0.0104),
        ("sid1", PLAIN, {"E": 0.0, "A": 3.7749, "a": 0.0253}, 0.9064, 0.0094),
        ("sid2", ABOVE_FLOOR, {"E": 4.4798, "A": 0.0023, "a": 1.5122}, 0.9892, 0.0101),
    ],
)
def test_the_papers_points_give_the_papers_coefficients(loss, verdict, printed, r2, rmse):
    fit = _fit(*PAPER[loss])
    assert fit.verdict == verdict
    for name, value in printed.items():
        assert fit.numbers()[name] == pytest.approx(value, abs=max(1e-4, 2e-4 * value)), name
    assert fit.quality.r2 == pytest.approx(r2, abs=0.001)
    assert fit.quality.rmse == pytest.approx(rmse, abs=1e-4)


def _sizes(count=8, seeds=2):
    return np.repeat(np.geomspace(1e-5, 1e-3, count), seeds)


def test_known_constants_come_back_and_lie_within_their_intervals():
    truth = PowerLaw(2.0, (0.03,), (0.4,))
    x = _sizes()
    inside = []
    for seed in range(12):
        noise = 0.01 * np.random.default_rng(seed).standard_normal(len(x))
        fit = _fit(x, truth(x[:, None]) + noise, samples=60, seed=seed)
        assert fit.verdict == ABOVE_FLOOR
        assert fit.numbers()["a"] == pytest.approx(0.4, abs=0.1)
        low, high = fit.bounds()["a"]
        inside.append(low <= 0.4 <= high)
    assert sum(inside) >= 8  # of twelve intervals at ninety per cent


def test_a_law_in_size_and_data():
    truth = PowerLaw(1.5, (0.03, 0.02), (0.35, 0.3))
    sizes, tokens = np.meshgrid(np.geomspace(1e-5, 1e-3, 6), np.geomspace(1e-4, 2e-3, 5))
    x = np.stack([sizes.ravel(), tokens.ravel()], axis=1)
    noise = 0.002 * np.random.default_rng(1).standard_normal(len(x))
    fit = _fit(x, truth(x) + noise, ("N", "D"), samples=30)
    assert fit.verdict == ABOVE_FLOOR
    assert fit.names() == ["E", "A", "B", "a", "b"]
    assert fit.numbers()["a"] == pytest.approx(0.35, abs=0.05)
    assert fit.numbers()["b"] == pytest.approx(0.3, abs=0.08)
    beyond = np.array([[4e-3, 4e-3]])
    low, high = fit.interval(beyond, of_a_run=True)
    assert low[0] <= truth(beyond)[0] <= high[0]


def test_where_nothing_depends_on_size_no_law_is_claimed():
    x, claims = _sizes(), 0
    for seed in range(20):
        losses = 4.0 + 0.02 * np.random.default_rng(100 + seed).standard_normal(len(x))
        fit = _fit(x, losses, samples=1)
        assert fit.holds == (fit.p_value < 0.05)
        claims += fit.holds
    assert claims <= 3
    fit = _fit(x, np.full(len(x), 4.0), samples=1)
    assert fit.verdict == NO_LAW
    assert fit.p_value == 1.0
    assert np.isfinite([one.bic for one in fit.qualities]).all()


def test_a_floor_is_fitted_only_where_there_are_more_sizes_than_numbers():
    sizes, losses = np.geomspace(0.01, 1.0, 4), np.array([4.0, 3.7, 3.6, 3.58])
    three, four = (_fit(sizes[:n], losses[:n], samples=1) for n in (3, 4))
    assert {one.form for one in three.qualities} == {"constant", PLAIN}
    assert {one.form for one in four.qualities} == {"constant", PLAIN, ABOVE_FLOOR}


def test_as_many_points_as_numbers_prove_no_law():
    x = np.array([[0.01, 1.0], [0.1, 2.0], [1.0, 3.0], [0.1, 1.0]])
    fit = _fit(x, [4.0, 3.7, 3.5, 3.8], ("N", "D"), samples=1)
    assert (fit.verdict, fit.p_value) == (NO_LAW, 1.0)


def test_forms_are_compared_by_bic_and_an_f_test():
    fit = _fit(*PAPER["sid2"], samples=20)
    for one in fit.qualities:
        expected = 5 * np.log(one.rss / 5) + one.parameters * np.log(5)
        assert one.bic == pytest.approx(expected)
    gain = (fit.qualities[0].rss - fit.quality.rss) / 2
    assert fit.p_value == pytest.approx(stats.f.sf(gain / (fit.quality.rss / 2), 2, 2))
    assert fit.bounds()["a"] == pytest.approx(tuple(np.quantile(fit.samples[:, 2], [0.05, 0.95])))


def test_residuals_are_centred_and_widened_for_what_the_fit_used_up():
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    means, within = np.array([3.0, 1.0, 1.0, 3.0]), np.tile([0.1, -0.1], 4)
    found = Residuals.of(groups, means[groups] + within, 2)
    assert found.common == pytest.approx((means - 2.0) * np.sqrt(4 / 2))
    assert found.own == pytest.approx(within * np.sqrt(8 / 4))
    alone = Residuals.of(np.arange(4), means, 2)
    assert alone.own.tolist() == [0.0] * 4


def test_a_single_diverged_training_does_not_bend_the_law():
    truth = PowerLaw(0.0, (2.0,), (0.05,))
    x = _sizes(count=8)
    losses = truth(x[:, None]) + 0.003 * np.random.default_rng(3).standard_normal(len(x))
    losses[-1] += 0.5
    robust = fit_law(x[:, None], losses, irreducible=False)
    assert robust.exponents[0] == pytest.approx(0.05, abs=0.005)
    slope = -np.polyfit(np.log(x), np.log(losses), 1)[0]
    assert abs(slope - 0.05) > 2 * abs(robust.exponents[0] - 0.05)


def test_two_sizes_are_no_law():
    with pytest.raises(InputError, match=r"at least three different values of it and there are 2"):
        _fit([1e-4, 1e-4, 1e-3], [4.0, 4.1, 3.9])


def test_plain_values_and_back():
    fit = _fit(*PAPER["sid2"], samples=5)
    again = Fit.from_json(fit.to_json())
    assert again.to_json() == fit.to_json()
    at = np.array([[0.1]])
    assert again.interval(at, of_a_run=True) == fit.interval(at, of_a_run=True)


def test_more_seeds_of_the_same_sizes_do_not_make_a_law_of_none():
    sizes, means = np.geomspace(0.01, 1.0, 4), np.array([4.00, 3.98, 4.01, 3.97])
    one = _fit(sizes, means, samples=1)
    assert one.verdict == NO_LAW
    noise = np.random.default_rng(0).normal(0, 1e-5, (8, 4))
    eight = _fit(np.tile(sizes, 8), (means + noise).ravel(), samples=1)
    assert eight.verdict == NO_LAW
    assert eight.p_value == pytest.approx(one.p_value, abs=0.01)


@pytest.mark.parametrize("apart", [0.0, 1e-3])  # as the tokens of the users that a seed draws
def test_more_seeds_of_the_same_sizes_do_not_make_a_law_surer(apart):
    sizes = np.geomspace(0.01, 1.0, 7)
    # Of a shape, so that all seeds share it.
    misfit = np.array([0.02, -0.02, 0.01, 0.02, -0.03, -0.01, 0.02])
    losses = PowerLaw(2.0, (0.5,), (0.4,))(sizes[:, None]) + misfit
    beyond = np.array([[5.0]])
    widths = {}
    for seeds in (1, 4):
        noise, shift = np.random.default_rng(seeds).normal(0, 1e-3, (2, seeds, len(sizes)))
        x = sizes * (1 + apart / 1e-3 * shift)
        levels = np.tile(sizes, seeds)
        fit = _fit(x.ravel(), (losses + noise).ravel(), samples=200, levels=levels)
        low, high = fit.interval(beyond, of_a_run=False)
        widths[seeds] = float(high[0] - low[0])
    assert widths[4] > 0.8 * widths[1]
