"""Residuals of a law, split into what the trainings of one size share and what they do not."""

from dataclasses import dataclass
from typing import Self

import numpy as np


def groups_of(levels: np.ndarray) -> np.ndarray:
    """Number the different rows of ``levels`` (n, k) from 0: (n,) int64."""
    return np.unique(levels, axis=0, return_inverse=True)[1].reshape(-1)


def means_of(groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(G,) float64 means of values (n,) within each group."""
    return np.bincount(groups, values) / np.bincount(groups)


@dataclass(frozen=True)
class Residuals:
    """The residuals of a law, in two parts that are resampled independently.

    Both parts have mean 0 and are scaled up for the degrees of freedom that the fit used.

    Attributes:
        groups: (n,) int64, the size (and share of the data) that each point belongs to, from 0.
        common: (G,) float64 mean residual of each group.
        own: (n,) float64 residual of each point within its group.
    """

    groups: np.ndarray
    common: np.ndarray
    own: np.ndarray

    @classmethod
    def of(cls, groups: np.ndarray, residuals: np.ndarray, parameters: int) -> Self:
        """Split residuals (n,) of points to which ``parameters`` numbers were fitted.

        Args:
            groups: (n,) int64, see :func:`groups_of`.
            residuals: (n,) float64.
            parameters: of the law.
        """
        means = means_of(groups, residuals)
        common = (means - means.mean()) * np.sqrt(len(means) / max(len(means) - parameters, 1))
        repeats = len(residuals) - len(means)
        widened = np.sqrt(len(residuals) / repeats) if repeats else 0.0
        return cls(groups, common, (residuals - means[groups]) * widened)

    @property
    def whole(self) -> np.ndarray:
        """(n,) residual of each point, the sum of both parts."""
        return self.common[self.groups] + self.own

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """(n,) resampled residuals; the points of a group share their common part."""
        common = rng.choice(self.common, len(self.common))
        return common[self.groups] + rng.choice(self.own, len(self.own))
