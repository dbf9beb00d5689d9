"""Power laws and how they are fitted: L = E + A1 x1^-a1 + A2 x2^-a2 + ..., all numbers positive.

Residuals and R^2 are of the loss itself, not of its logarithm. Huber's loss leaves points within
2.5 robust standard deviations as they are and limits the influence of the others.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.optimize import least_squares, nnls

BILLION = 1e9  # the unit in which a study's laws count parameters and tokens
FIRST_EXPONENTS = (0.03, 0.15, 0.4, 0.8, 1.6)
STARTS = 4  # the best combinations of these are refined
MAX_EXPONENT = 10.0
OUTLIER = 2.5
NORMAL_MAD = 1.4826  # standard deviations per median absolute deviation
TOLERANCE, MAX_EVALUATIONS = 1e-9, 200


@dataclass(frozen=True)
class PowerLaw:
    """One law.

    Attributes:
        irreducible: E, the loss that remains at any size; 0 where the form has none.
        scales: A of each variable.
        exponents: a of each variable.
    """

    irreducible: float
    scales: tuple[float, ...]
    exponents: tuple[float, ...]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, k) variables -> (n,) losses."""
        return self.irreducible + (np.asarray(self.scales) * x ** -np.asarray(self.exponents)).sum(
            axis=1
        )


def fit_law(
    x: np.ndarray, y: np.ndarray, *, irreducible: bool, start: PowerLaw | None = None
) -> PowerLaw:
    """Fit by robust least squares.

    Args:
        x: (n, k) float64 variables, positive.
        y: (n,) float64 losses.
        irreducible: whether the law has an E.
        start: the initial law; None tries several and takes the best.
    """
    centre = np.exp(np.log(x).mean(axis=0))
    z = x / centre
    starts = _starts(z, y, irreducible) if start is None else [_pack(start, centre, irreducible)]
    plain = [_refine(z, y, one, irreducible, np.inf) for one in starts]
    best = min(plain, key=lambda theta: _rss(z, y, theta, irreducible))
    spread = NORMAL_MAD * np.median(np.abs(y - _predict(z, best, irreducible)))
    limit = max(OUTLIER * spread, 1e-9 * np.abs(y).max())
    return _unpack(_refine(z, y, best, irreducible, limit), centre, irreducible)


def _predict(z: np.ndarray, theta: np.ndarray, irreducible: bool) -> np.ndarray:
    offset, parts, exponents = _split(z, theta, irreducible)
    return offset + (parts * z**-exponents).sum(axis=1)


def _split(
    z: np.ndarray, theta: np.ndarray, irreducible: bool
) -> tuple[float, np.ndarray, np.ndarray]:
    """E, the terms at the centre, and the exponents."""
    first = int(irreducible)
    count = z.shape[1]
    offset = float(theta[0]) if irreducible else 0.0
    return offset, theta[first : first + count], theta[first + count :]


def _refine(
    z: np.ndarray, y: np.ndarray, theta: np.ndarray, irreducible: bool, limit: float
) -> np.ndarray:
    def residuals(now: np.ndarray) -> np.ndarray:
        return _predict(z, now, irreducible) - y

    def jacobian(now: np.ndarray) -> np.ndarray:
        _, parts, exponents = _split(z, now, irreducible)
        powers = z**-exponents
        columns = [powers, -parts * powers * np.log(z)]
        return np.hstack([np.ones((len(y), 1)), *columns] if irreducible else columns)

    count = z.shape[1]
    highest = np.concatenate([np.full(len(theta) - count, np.inf), np.full(count, MAX_EXPONENT)])
    options: dict[str, Any] = {"jac": jacobian}
    if np.isfinite(limit):
        options |= {"loss": "huber", "f_scale": limit}
    found = least_squares(
        residuals,
        np.clip(theta, 1e-9, highest * (1 - 1e-9)),
        bounds=(0.0, highest),
        x_scale=np.maximum(np.abs(theta), 1e-2),
        xtol=TOLERANCE,
        ftol=TOLERANCE,
        gtol=TOLERANCE,
        max_nfev=MAX_EVALUATIONS,
        **options,
    )
    return found.x


def _starts(z: np.ndarray, y: np.ndarray, irreducible: bool) -> list[np.ndarray]:
    """The best few initial values: for given exponents, the other numbers are a linear fit."""
    tried = []
    for exponents in product(FIRST_EXPONENTS, repeat=z.shape[1]):
        columns = z ** -np.asarray(exponents)
        if irreducible:
            columns = np.hstack([np.ones((len(y), 1)), columns])
        linear, distance = nnls(columns, y)
        tried.append((distance, np.concatenate([linear, exponents])))
    tried.sort(key=lambda one: one[0])
    return [theta for _, theta in tried[:STARTS]]


def _rss(z: np.ndarray, y: np.ndarray, theta: np.ndarray, irreducible: bool) -> float:
    return float(((_predict(z, theta, irreducible) - y) ** 2).sum())


def _unpack(theta: np.ndarray, centre: np.ndarray, irreducible: bool) -> PowerLaw:
    offset, parts, exponents = _split(centre[None], theta, irreducible)
    scales = parts * centre**exponents
    return PowerLaw(offset, tuple(scales.tolist()), tuple(exponents.tolist()))


def _pack(law: PowerLaw, centre: np.ndarray, irreducible: bool) -> np.ndarray:
    exponents = np.asarray(law.exponents)
    parts = np.asarray(law.scales) * centre**-exponents
    offset = [law.irreducible] if irreducible else []
    return np.concatenate([offset, parts, exponents])
