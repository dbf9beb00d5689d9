"""Whether losses follow a power law at all, which one, and how sure that is.

Three forms compete: a constant, a power law, and a power law above an irreducible loss. BIC chooses
between the last two, an F test at five per cent must reject the constant, else the verdict is "no
power law". Intervals come from a bootstrap of residuals that chooses the form again in every
sample, so that they include the uncertainty about the form. The residual that the seeds of one size
share (its shape suits it well or badly) is drawn once per size, and an F test on the means of the
sizes must reject the constant as well: more seeds do not make a law surer than its sizes allow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy import stats

from model.errors import InputError
from model.scaling.laws import PowerLaw, fit_law
from model.scaling.residuals import Residuals, groups_of, means_of

SIGNIFICANCE = 0.05
NO_LAW = "no power law"
PLAIN, ABOVE_FLOOR = "power law", "power law above an irreducible loss"
SPACE = "loss"  # where residuals are minimised and R^2 is measured


@dataclass(frozen=True)
class Quality:
    """How well one form fits.

    Attributes:
        form: which one; ``constant`` for none.
        parameters: fitted numbers.
        rss: residual sum of squares.
        r2: share of the variance that it explains, in the space of the loss.
        rmse: root of the mean squared residual.
        bic: smaller is better.
    """

    form: str
    parameters: int
    rss: float
    r2: float
    rmse: float
    bic: float


@dataclass(frozen=True)
class Fit:
    """One loss against one or two variables.

    Attributes:
        variables: names, such as ``N`` or ``N``, ``D``; in billions.
        law: the better of both power-law forms.
        verdict: which form that is, or "no power law".
        p_value: of the F test against a constant, from all trainings or from the means of sizes,
            whichever is the larger.
        qualities: of all forms.
        residuals: (n,) of the points, inflated as in :class:`~model.scaling.residuals.Residuals`.
        samples: (B, 1 + 2k) E, scales and exponents of each bootstrap sample.
        confidence: of all intervals.
    """

    variables: tuple[str, ...]
    law: PowerLaw
    verdict: str
    p_value: float
    qualities: tuple[Quality, ...]
    residuals: np.ndarray
    samples: np.ndarray
    confidence: float

    @property
    def holds(self) -> bool:
        """Whether there is a power law."""
        return self.verdict != NO_LAW

    @property
    def quality(self) -> Quality:
        """The quality of the chosen form."""
        form = ABOVE_FLOOR if self.law.irreducible > 0 else PLAIN
        return next(one for one in self.qualities if one.form == form)

    def bounds(self) -> dict[str, tuple[float, float]]:
        """The interval of every number of the law, by name: E, A, a, and B, b of a second."""
        low, high = self._quantiles(self.samples)
        return {
            name: (float(a), float(b)) for name, a, b in zip(self.names(), low, high, strict=True)
        }

    def numbers(self) -> dict[str, float]:
        """The numbers of the law, by name."""
        values = (self.law.irreducible, *self.law.scales, *self.law.exponents)
        return dict(zip(self.names(), values, strict=True))

    def names(self) -> list[str]:
        """E, then the scales, then the exponents."""
        letters = "ABCD"[: len(self.variables)]
        return ["E", *letters, *letters.lower()]

    def interval(self, x: np.ndarray, *, of_a_run: bool) -> tuple[np.ndarray, np.ndarray]:
        """The interval of the loss at given values of the variables.

        Args:
            x: (m, k) variables.
            of_a_run: whether to include the spread of single trainings (a prediction interval), or
                only the law's own uncertainty.

        Returns:
            (m,) lower and upper ends.
        """
        first, last = 1, 1 + len(self.variables)
        drawn = [
            PowerLaw(float(one[0]), tuple(one[first:last]), tuple(one[last:]))(x)
            for one in self.samples
        ]
        losses = np.stack(drawn)
        if of_a_run:
            rng = np.random.default_rng(0)
            losses = losses + rng.choice(self.residuals, losses.shape)
        return self._quantiles(losses)

    def _quantiles(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(values, [tail, 1 - tail], axis=0)
        return low, high

    def to_json(self) -> dict[str, Any]:
        """As values that JSON can hold."""
        return {
            "variables": list(self.variables),
            "numbers": self.numbers(),
            "intervals": {name: list(ends) for name, ends in self.bounds().items()},
            "verdict": self.verdict,
            "p_value": self.p_value,
            "space": SPACE,
            "forms": [vars(one) for one in self.qualities],
            "residuals": self.residuals.tolist(),
            "samples": self.samples.tolist(),
            "confidence": self.confidence,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Read what :meth:`to_json` gave."""
        numbers, count = list(values["numbers"].items()), len(values["variables"])
        named = dict(numbers)
        letters = "ABCD"[:count]
        law = PowerLaw(
            named["E"],
            tuple(named[letter] for letter in letters),
            tuple(named[letter.lower()] for letter in letters),
        )
        return cls(
            variables=tuple(values["variables"]),
            law=law,
            verdict=values["verdict"],
            p_value=values["p_value"],
            qualities=tuple(Quality(**one) for one in values["forms"]),
            residuals=np.asarray(values["residuals"]),
            samples=np.asarray(values["samples"]),
            confidence=values["confidence"],
        )


def fit_losses(
    x: np.ndarray,
    losses: np.ndarray,
    variables: Sequence[str],
    *,
    levels: np.ndarray,
    samples: int,
    confidence: float,
    seed: int,
) -> Fit:
    """Fit, compare with simpler forms, and bootstrap.

    Args:
        x: (n, k) float64 variables in billions.
        losses: (n,) float64.
        variables: their k names.
        levels: (n, k) float64, nominal values of the variables: trainings that differ only in the
            seed share them, though the users that it draws may have different numbers of tokens.
        samples: of the bootstrap.
        confidence: of the intervals.
        seed: of the bootstrap.

    Raises:
        InputError: too few different sizes for a law.
    """
    x, losses = np.asarray(x, np.float64), np.asarray(losses, np.float64)
    _require_spread(levels, variables)
    groups = groups_of(levels)
    laws = {PLAIN: fit_law(x, losses, irreducible=False)}
    if _count(x, ABOVE_FLOOR) < groups.max() + 1:  # more sizes (and shares) than fitted numbers
        laws[ABOVE_FLOOR] = fit_law(x, losses, irreducible=True)
    qualities = [_quality("constant", 1, losses, np.full(len(losses), losses.mean()))]
    qualities += [_quality(form, _count(x, form), losses, law(x)) for form, law in laws.items()]
    chosen = min(qualities[1:], key=lambda one: one.bic)
    law = laws[chosen.form]
    p_value = max(
        _f_test(qualities[0].rss, chosen.rss, chosen.parameters, len(losses)),
        _f_test_of_means(groups, losses - losses.mean(), losses - law(x), chosen.parameters),
    )
    residuals = Residuals.of(groups, losses - law(x), chosen.parameters)
    return Fit(
        variables=tuple(variables),
        law=law,
        verdict=chosen.form if p_value < SIGNIFICANCE else NO_LAW,
        p_value=p_value,
        qualities=tuple(qualities),
        residuals=residuals.whole,
        samples=_bootstrap(x, law(x), residuals, laws, samples, seed),
        confidence=confidence,
    )


def _require_spread(levels: np.ndarray, variables: Sequence[str]) -> None:
    for name, column in zip(variables, levels.T, strict=True):
        if len(np.unique(column)) < 3:
            raise InputError(
                f"scaling_study.points: a law in {name} needs at least three different values of "
                f"it and there are {len(np.unique(column))} among the points that it is fitted to "
                "(a law in N alone uses those with the largest share of users; all seeds of a "
                "share count as one value of D); add points"
            )


def _count(x: np.ndarray, form: str) -> int:
    return 2 * x.shape[1] + (form == ABOVE_FLOOR)


def _quality(form: str, parameters: int, losses: np.ndarray, predicted: np.ndarray) -> Quality:
    count = len(losses)
    rss = float(((losses - predicted) ** 2).sum())
    total = float(((losses - losses.mean()) ** 2).sum())
    floor = max(rss, count * 1e-18)
    return Quality(
        form=form,
        parameters=parameters,
        rss=rss,
        r2=1 - rss / total if total > 0 else 0.0,
        rmse=float(np.sqrt(rss / count)),
        bic=float(count * np.log(floor / count) + parameters * np.log(count)),
    )


def _f_test(constant: float, chosen: float, parameters: int, count: int) -> float:
    """The p-value of an F test of the chosen form against a constant, by sums of squares."""
    more, left = parameters - 1, count - parameters
    if left <= 0 or constant <= 0:
        return 1.0
    gain = max(constant - chosen, 0.0) / more
    return float(stats.f.sf(gain / max(chosen / left, 1e-300), more, left))


def _f_test_of_means(
    groups: np.ndarray, constant: np.ndarray, chosen: np.ndarray, parameters: int
) -> float:
    """The same test on the groups' means: more seeds do not average out how far a shape is off.

    Args:
        groups: (n,) int64 of the trainings.
        constant: (n,) float64 residuals of the constant.
        chosen: (n,) float64 residuals of the law.
        parameters: of the law.
    """

    def squares(residuals: np.ndarray) -> float:
        return float((means_of(groups, residuals)[groups] ** 2).sum())

    return _f_test(squares(constant), squares(chosen), parameters, int(groups.max()) + 1)


def _bootstrap(
    x: np.ndarray,
    predicted: np.ndarray,
    residuals: Residuals,
    laws: dict[str, PowerLaw],
    samples: int,
    seed: int,
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(samples):
        losses = predicted + residuals.draw(rng)
        tried = []
        for form, law in laws.items():
            again = fit_law(x, losses, irreducible=form == ABOVE_FLOOR, start=law)
            tried.append((_quality(form, _count(x, form), losses, again(x)).bic, again))
        law = min(tried, key=lambda one: one[0])[1]
        drawn.append([law.irreducible, *law.scales, *law.exponents])
    return np.asarray(drawn)
