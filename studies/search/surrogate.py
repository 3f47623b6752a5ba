"""A Gaussian process on the unit cube: the expected loss of configurations that were not trained.

The mean is a constant with a normal prior. The kernel is Matern 5/2 with a length-scale for each hyperparameter.
Length-scales, noise and amplitude are the most probable ones under log-normal priors, which say what a search of
networks looks like and keep a fit to five trials sane. Each fit starts from the mode of the priors, so that it depends
on its observations alone.

Knows no study and no Optuna. Sources: C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning,
https://gaussianprocess.org/gpml (posterior: algorithm 2.1, mean: equation 2.40, Matern: equation 4.17, gradient:
equation 5.9), and for the logarithm of the expected improvement S. Ament et al., https://arxiv.org/abs/2310.20708,
equation 9.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Medians of the priors: of the noise as a standard deviation, of the amplitude as a variance, of the length-scales as a
# part of the unit interval; and standard deviations of the logarithms of both variances and of the length-scales.
# Losses are standardised, so their whole variance is 1. Two names are always at distance 1: with 0.5 for them, too, ten
# names of four each are searched as slowly as by TPE (benchmarks/search/classical.py).
NOISE, _AMPLITUDE = 0.1, 1.0
_LENGTH, _LENGTH_OF_NAMES = 0.5, 1.0
_LENGTH_WIDTH, _NOISE_WIDTH, _AMPLITUDE_WIDTH = 0.4, 1.5, 0.7
# The variance of the mean loss, which is a constant that is not known: most trials of a search are good ones, and far
# from them the loss is higher than their mean.
_MEAN = 1.0
_BOUND = 4.0  # standard deviations of a prior on both sides: a line search must not leave the floating-point numbers
_ITERATIONS = 20  # of L-BFGS; more of them change no proposal by much
_FITTED = 100  # observations that the parameters are fitted to, at most
_JITTER = 1e-6  # added to the noise, so that a configuration may be observed twice
_SMALLEST = 1e-10  # posterior variance; rounding can make it negative


_limited = threading.RLock()  # otherwise the last thread to leave would restore the limit of the first


@contextmanager
def one_thread() -> Iterator[None]:
    """Run the linear algebra of numpy and scipy on one core inside the `with` block; one thread at a time.

    The matrices are too small for more. On a machine whose cores are busy training, threads that wait for one another
    make a proposal thirty times slower.
    """
    with _limited, _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> Any:
    import scipy.linalg  # noqa: F401 - scipy has a BLAS of its own, which the controller must find
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class Surrogate:
    """The Gaussian process, given observations and parameters.

    Args:
        x: points of the unit cube, (observations, hyperparameters); one at least.
        z: the losses at these points, standardised, (observations,).
        unordered: which hyperparameters are names without an order, (hyperparameters,); two names are at distance 1.
        theta: logarithms of the length-scales, of the variance of the noise, and of that of the amplitude,
            (hyperparameters + 2,).
    """

    def __init__(self, x: Array, z: Array, unordered: NDArray[np.bool_], theta: Array) -> None:
        from scipy.linalg import cho_factor, cho_solve

        self.x, self.z, self.theta = x, z, theta
        self._unordered = unordered
        signal = _covariance(x, x, unordered, theta)
        self._factor: tuple[Array, bool] = cho_factor(_with_noise(signal, theta), lower=True)
        self._weights: Array = cho_solve(self._factor, z)

    @property
    def noise(self) -> float:
        """The standard deviation of a single training's loss."""
        return float(np.exp(self.theta[-2] / 2))

    def posterior(self, points: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of the loss at points, (points,) each, without a training's noise."""
        from scipy.linalg import solve_triangular

        shared = _covariance(points, self.x, self._unordered, self.theta)
        explained = solve_triangular(self._factor[0], shared.T, lower=True, check_finite=False)
        variance = _MEAN + np.exp(self.theta[-1]) - np.einsum("ij,ij->j", explained, explained)
        return shared @ self._weights, np.sqrt(np.maximum(variance, _SMALLEST))

    def together(self, points: Array) -> tuple[Array, Array]:
        """Return the mean of the loss at points, (points,), and its covariance, (points, points)."""
        from scipy.linalg import solve_triangular

        shared = _covariance(points, self.x, self._unordered, self.theta)
        explained = solve_triangular(self._factor[0], shared.T, lower=True, check_finite=False)
        covariance = _covariance(points, points, self._unordered, self.theta) - explained.T @ explained
        return shared @ self._weights, covariance

    def believing(self, points: Array) -> Surrogate:
        """Return the process as if these points had been observed, with the losses that it expects there.

        For trials that are running: the expected losses stay as they are, but there is less to be learned near them, so
        that parallel workers spread out.
        """
        if not len(points):
            return self
        losses = np.concatenate([self.z, self.posterior(points)[0]])
        return Surrogate(np.concatenate([self.x, points]), losses, self._unordered, self.theta)


def prior_lengths(unordered: NDArray[np.bool_]) -> Array:
    """Return the prior medians of the length-scales, (hyperparameters,)."""
    return np.where(unordered, _LENGTH_OF_NAMES, _LENGTH)


def fit(x: Array, z: Array, unordered: NDArray[np.bool_], lengths: Array, noise: float = NOISE) -> Surrogate:
    """Return the process with its most probable parameters.

    Of more than 100 observations the parameters are fitted to 50 to 100, evenly spread over their order: the parameters
    are few, and the fit is most of what a proposal costs. `lengths` (hyperparameters,) and `noise` are prior medians:
    of the length-scales, and of a single training's noise as a standard deviation. The rest is as for `Surrogate`.
    """
    from scipy.optimize import minimize

    some = slice(None, None, -(-len(x) // _FITTED))
    mode = np.log([*lengths, noise**2, _AMPLITUDE])
    widths = np.array([*[_LENGTH_WIDTH] * len(lengths), _NOISE_WIDTH, _AMPLITUDE_WIDTH])
    fitted = minimize(
        negative_log_posterior,
        mode,
        args=(pairs(x[some], unordered), z[some], mode, widths),
        jac=True,
        method="L-BFGS-B",
        bounds=np.stack([mode - _BOUND * widths, mode + _BOUND * widths], axis=1),
        options={"maxiter": _ITERATIONS},
    )
    return Surrogate(x, z, unordered, fitted.x)


def negative_log_posterior(theta: Array, between: Array, z: Array, mode: Array, widths: Array) -> tuple[float, Array]:
    """Return the negative logarithm of marginal likelihood times priors, up to a constant, and its gradient by theta.

    `between` are the `pairs` of the observations, `mode` and `widths` the means and standard deviations of theta's
    normal prior. Only the lower triangle of the covariance is computed, factorised and inverted.
    """
    from scipy.linalg import lapack

    rows, columns = _lower_triangle(len(z))
    scaled = between * np.exp(-2 * theta[:-2])[:, None]
    signal, slope = _matern(scaled.sum(axis=0), theta)
    noise, amplitude = np.exp(theta[-2:])
    covariance = np.zeros((len(z), len(z)), order="F")
    covariance[rows, columns] = _MEAN + signal
    np.fill_diagonal(covariance, _MEAN + amplitude + noise + _JITTER)
    factor, failed = lapack.dpotrf(covariance, lower=1, clean=0, overwrite_a=1)
    if failed:
        raise np.linalg.LinAlgError("the covariance of the observations has no Cholesky factor")
    determinant = np.log(np.diag(factor)).sum()
    weights, _ = lapack.dpotrs(factor, z, lower=1)
    inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
    away = (theta - mode) / widths
    value = 0.5 * z @ weights + determinant + 0.5 * away @ away
    pull = inverse[rows, columns] - weights[rows] * weights[columns]  # twice the half: both triangles
    own = 0.5 * (np.trace(inverse) - weights @ weights)
    gradient = np.append(scaled @ (pull * slope), [own * noise, own * amplitude + pull @ signal])
    return float(value), gradient + away / widths


def pairs(x: Array, unordered: NDArray[np.bool_]) -> Array:
    """Return the squared distance of each two points in each hyperparameter: (hyperparameters, pairs), the pairs in the
    order of a lower triangle's entries."""
    rows, columns = _lower_triangle(len(x))
    between: Array = np.square(x[rows] - x[columns]).T
    between[unordered] = between[unordered] > 0
    return np.ascontiguousarray(between)


@lru_cache(maxsize=4)
def _lower_triangle(size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the entries below the diagonal of a square matrix."""
    return np.tril_indices(size, -1)


def log_expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Return the logarithm of the expected improvement on `best` of normally distributed losses, lower is better.

    The improvement itself is 0 in floating-point numbers if a point is 40 standard deviations worse than the best: then
    there would be nothing to choose by.
    """
    from scipy.special import erfcx, ndtr

    z = (best - mean) / deviation
    log_density = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    near, far = np.maximum(z, -1.0), np.maximum(-z, 1.0)
    near_by = np.log(np.exp(-0.5 * near**2) / np.sqrt(2 * np.pi) + near * ndtr(near))
    # 1 - sqrt(pi / 2) far erfcx(far / sqrt 2) is 1 / far² in the limit, which is exact where the difference is not.
    middle = np.minimum(far, 1e4)
    far_off = log_density + np.log1p(-np.sqrt(np.pi / 2) * middle * erfcx(middle / np.sqrt(2)))
    limit = log_density - 2 * np.log(far)
    return np.asarray(np.log(deviation) + np.where(z > -1, near_by, np.where(far < 1e4, far_off, limit)))


def log_augmented_expected_improvement(mean: Array, deviation: Array, best: float, noise: float) -> Array:
    """Return the logarithm of the expected improvement, reduced by what the noise of one training hides of it.

    A configuration that was trained before has little left to show, a new one nearly all: so the figure also says when
    another training of a good configuration is worth more than a new one. Source: D. Huang et al., Global optimization
    of stochastic black-box systems via sequential kriging meta-models, https://doi.org/10.1007/s10898-005-2454-3,
    equation 13. `noise` is the standard deviation of one training's loss.
    """
    return log_expected_improvement(mean, deviation, best) + np.log1p(-noise / np.hypot(noise, deviation))


def _covariance(a: Array, b: Array, unordered: NDArray[np.bool_], theta: Array) -> Array:
    """Return the covariance of two sets of points, (a, b): that of the mean, and Matern 5/2.

    Without the distances in each hyperparameter, which only a gradient needs, it is several times faster: most of it is
    one matrix multiplication.
    """
    shorter = np.exp(-theta[:-2])
    p, q = (a * shorter)[:, ~unordered], (b * shorter)[:, ~unordered]
    squared = np.square(p).sum(axis=1)[:, None] + np.square(q).sum(axis=1) - 2 * p @ q.T
    for axis in np.flatnonzero(unordered):
        squared += (a[:, axis, None] != b[:, axis]) * shorter[axis] ** 2
    return _MEAN + _matern(np.maximum(squared, 0.0), theta)[0]  # rounding can make a square negative


def _matern(squared: Array, theta: Array) -> tuple[Array, Array]:
    """Return Matern 5/2 at squared distances in length-scales, and the common factor of its slopes by the logarithms of
    the length-scales, whose other factor is the squared distance in that hyperparameter alone."""
    distance = np.sqrt(5 * squared)
    decayed: Any = np.exp(theta[-1] - distance)
    return decayed * (1 + distance + distance**2 / 3), decayed * (1 + distance) * (5 / 3)


def _with_noise(signal: Array, theta: Array) -> Array:
    noise = float(np.exp(theta[-2])) + _JITTER
    return signal + noise * np.eye(len(signal))
