"""Quantiles and tails of Student's t distribution with only numpy; not in `arrays`, since a server needs neither."""

from __future__ import annotations

import math
import sys
from functools import cache
from statistics import NormalDist

import numpy as np

from headway.core.arrays import Floats


def student_quantile(p: float, dof: float) -> float:
    """Return the p-quantile of Student's t distribution.

    Abramowitz and Stegun 26.7.5, then Newton steps; the base install has no scipy. The relative error is below 1e-7 for
    3 to 1,000 degrees of freedom and p up to 1 - 1e-6.

    Parameters
    ----------
    p : float
        In (0, 1).
    dof : float
        Degrees of freedom, at least 3.

    >>> round(student_quantile(0.975, 61), 6)
    1.999624
    """
    return _upper_quantile(p, dof) if p >= 0.5 else -_upper_quantile(1 - p, dof)


@cache
def _upper_quantile(p: float, dof: float) -> float:
    z = NormalDist().inv_cdf(p)
    t: float = z + (z**3 + z) / (4 * dof) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * dof**2)
    for _ in range(8):
        t -= _newton(t, p, dof)
    return t


def _newton(t: float, p: float, dof: float) -> float:
    """Return (F(t) - p) / f(t).

    With t = sqrt(dof) tan(angle), F is 1/2 + c times the integral of cos(angle)^(dof-1).
    """
    c = math.exp(math.lgamma((dof + 1) / 2) - math.lgamma(dof / 2)) / math.sqrt(math.pi)
    half = math.atan(t / math.sqrt(dof)) / 2
    nodes, weights = _gauss()
    integral = half * float(weights @ np.cos(half * (nodes + 1)) ** (dof - 1))
    density: float = c / math.sqrt(dof) * (1 + t * t / dof) ** (-(dof + 1) / 2)
    return (0.5 + c * integral - p) / density


def student_tails(t: Floats, dof: float) -> Floats:
    """Return the two-sided p-values of |t| under Student's t distribution, float64 of the shape of `t`.

    Interpolated in a table of logarithms. The relative error is below 1 % down to p = 1e-60.

    >>> student_tails(np.array([0.0, 1.999624]), 61).round(4).tolist()
    [1.0, 0.05]
    """
    angles, logs = _log_tails(dof)
    found: Floats = np.exp(np.interp(np.arctan(np.abs(t) / math.sqrt(dof)), angles, logs))
    return found


@cache
def _log_tails(dof: float) -> tuple[Floats, Floats]:
    """Return angles atan(t / sqrt(dof)) and the logarithms of their two-sided p-values, by Simpson's rule."""
    angles = np.linspace(0, math.pi / 2 - 1e-3, 8001)
    middle = (angles[1:] + angles[:-1]) / 2
    ends, inner = np.cos(angles) ** (dof - 1), np.cos(middle) ** (dof - 1)
    parts = np.diff(angles) / 6 * (ends[:-1] + 4 * inner + ends[1:])
    beyond = 1e-3 * ends[-1] / dof
    tails = np.append(np.cumsum(parts[::-1])[::-1], 0) + max(beyond, sys.float_info.min)
    return angles, np.log(tails / tails[0])


@cache
def _gauss() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(64)
    return np.asarray(nodes), np.asarray(weights)
