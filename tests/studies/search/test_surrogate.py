"""The Gaussian process against finite differences, direct linear algebra and numerical integration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import check_grad
from scipy.stats import norm

from caviar.studies.search.surrogate import (
    Array,
    Surrogate,
    _covariance,
    fit,
    log_augmented_expected_improvement,
    log_expected_improvement,
    negative_log_posterior,
    pairs,
)

UNORDERED = np.array([False, False, True])
LENGTHS = np.array([0.35, 0.7, 1.2])


def observed(count: int, seed: int = 0) -> tuple[Array, Array]:
    """Points of two numbers and a name, and losses of which the first number explains most."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.random((count, 2)), (rng.integers(0, 3, count) + 0.5) / 3])
    z = np.sin(5 * x[:, 0]) + 0.3 * (x[:, 2] > 0.5) + 0.05 * rng.normal(size=count)
    return x, (z - z.mean()) / (z.std() or 1.0)


def kernel(a: Array, b: Array, theta: Array) -> Array:
    """The variance of the mean, 1, and Matern 5/2, written down a second time, point by point."""
    shared = np.empty((len(a), len(b)))
    for i, left in enumerate(a):
        for j, right in enumerate(b):
            apart = [left[0] - right[0], left[1] - right[1], float(left[2] != right[2])]
            r = np.sqrt(sum((d / np.exp(log)) ** 2 for d, log in zip(apart, theta[:-2], strict=True)))
            shared[i, j] = 1 + np.exp(theta[-1]) * (1 + np.sqrt(5) * r + 5 / 3 * r**2) * np.exp(-np.sqrt(5) * r)
    return shared


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_is_that_of_finite_differences(seed: int) -> None:
    x, z = observed(12, seed)
    rng = np.random.default_rng(seed)
    mode = np.log([*LENGTHS, 0.05, 1.0])
    widths = np.array([0.4, 0.4, 0.4, 1.0, 0.7])
    theta = mode + widths * rng.normal(size=5)
    rest = pairs(x, UNORDERED), z, mode, widths
    slope = negative_log_posterior(theta, *rest)[1]
    error = check_grad(
        lambda t: negative_log_posterior(t, *rest)[0], lambda t: negative_log_posterior(t, *rest)[1], theta
    )
    assert error < 1e-5 * np.linalg.norm(slope)


def test_the_likelihood_is_that_of_a_normal_distribution() -> None:
    x, z = observed(8)
    theta = np.log([0.3, 0.5, 1.0, 0.1, 1.5])
    value, _ = negative_log_posterior(theta, pairs(x, UNORDERED), z, theta, np.ones(5))
    covariance = kernel(x, x, theta) + 0.1 * np.eye(8)
    exact = 0.5 * (z @ np.linalg.solve(covariance, z) + np.linalg.slogdet(covariance)[1])
    assert value == pytest.approx(exact, rel=1e-4)  # but for the jitter


def test_the_posterior_is_that_of_a_direct_solution() -> None:
    x, z = observed(20)
    points, _ = observed(7, seed=1)
    theta = np.log([0.3, 0.5, 1.0, 0.1, 1.5])
    mean, deviation = Surrogate(x, z, UNORDERED, theta).posterior(points)
    covariance = kernel(x, x, theta) + (0.1 + 1e-6) * np.eye(20)
    shared = kernel(points, x, theta)
    assert mean == pytest.approx(shared @ np.linalg.solve(covariance, z))
    variance = np.diag(kernel(points, points, theta) - shared @ np.linalg.solve(covariance, shared.T))
    assert deviation == pytest.approx(np.sqrt(variance))


def test_a_fit_explains_what_it_has_seen_and_finds_out_what_matters() -> None:
    x, z = observed(40)
    surrogate = fit(x, z, UNORDERED, np.array([0.7, 0.7, 0.7]))
    points, unseen = observed(200, seed=1)
    assert np.mean((surrogate.posterior(points)[0] - unseen) ** 2) < 0.1  # of a variance of 1
    first, second, _ = np.exp(surrogate.theta[:-2])
    assert first < 0.7 < second


def test_far_from_all_observations_the_mean_is_theirs_by_least_squares() -> None:
    """With a flat prior it would be the generalised least squares' estimate; this one leans to 0 by a normal prior."""
    x, _ = observed(30)
    theta = np.log([0.01, 0.01, 0.01, 0.5, 0.5])
    mean, _ = Surrogate(x, np.full(30, 2.0), UNORDERED, theta).posterior(np.array([[5.0, 5.0, 0.0]]))
    # Observations that are independent, each of variance 1, of a mean whose own variance is 1: 30 / 31 of theirs.
    assert mean[0] == pytest.approx(2.0 * 30 / 31, rel=1e-3)


def test_what_is_running_changes_no_expectation_but_is_less_worth_trying() -> None:
    x, z = observed(15)
    points, _ = observed(50, seed=1)
    before = fit(x, z, UNORDERED, LENGTHS)
    after = before.believing(points[:2])
    assert after.posterior(points)[0] == pytest.approx(before.posterior(points)[0], abs=1e-6)
    assert np.all(after.posterior(points)[1] <= before.posterior(points)[1] + 1e-9)
    assert np.all(after.posterior(points[:2])[1] < 0.8 * before.posterior(points[:2])[1])
    assert before.believing(points[:0]) is before


@pytest.mark.parametrize("count", [1, 2, 5, 60])
@pytest.mark.parametrize("losses", ["equal", "different"])
@pytest.mark.parametrize("place", ["one", "several"])
def test_few_equal_and_repeated_observations_are_borne(count: int, losses: str, place: str) -> None:
    x, z = observed(count)
    if losses == "equal":
        z = np.zeros(count)
    if place == "one":
        x = np.repeat(x[:1], count, axis=0)
    surrogate = fit(x, z, UNORDERED, LENGTHS)
    points = np.concatenate([observed(50, seed=1)[0], x])
    mean, deviation = surrogate.believing(np.repeat(x[:1], 5, axis=0)).posterior(points)
    assert np.all(np.isfinite(surrogate.theta))
    assert np.all(deviation > 0)
    assert np.all(np.isfinite(log_expected_improvement(mean, deviation, mean.min())))


@pytest.mark.parametrize("worse", [-3.0, -0.5, 0.0, 0.99, 1.01, 2.0, 6.0])
@pytest.mark.parametrize("deviation", [0.1, 1.0, 3.0])
def test_the_expected_improvement_is_that_of_the_integral(worse: float, deviation: float) -> None:
    mean = worse * deviation
    lowest = min(mean, 0) - 12 * deviation  # improvements beyond add less than the last digit
    exact, _ = quad(lambda y: -y * norm.pdf(y, mean, deviation), lowest, 0, points=[min(mean, 0)], epsabs=0)
    found = log_expected_improvement(np.array([mean]), np.array([deviation]), 0.0)
    assert np.exp(found) == pytest.approx(exact, rel=1e-6)


def test_the_expected_improvement_goes_on_where_it_is_zero_in_floating_point_numbers() -> None:
    far = np.concatenate([np.linspace(0.5, 60, 2000), np.logspace(2, 10, 200)])
    found = log_expected_improvement(far, np.ones_like(far), 0.0)
    assert np.all(np.isfinite(found))
    assert np.all(np.diff(found) < 0)
    assert found[-1] == pytest.approx(-0.5e20)
    # Mills' ratio in its asymptotic series (Abramowitz and Stegun 26.2.12): h(-30) = φ(30) / 30² (1 - 3 / 30² + ...)
    series = norm.logpdf(30) - 2 * np.log(30) + np.log1p(-3 / 30**2 + 15 / 30**4)
    assert log_expected_improvement(np.array([30.0]), np.ones(1), 0.0)[0] == pytest.approx(series, abs=1e-6)
    below, above = log_expected_improvement(np.array([1e4 - 1e-7, 1e4 + 1e-7]), np.ones(2), 0.0)
    assert below - above == pytest.approx(2e-3, rel=1e-3)  # where the formulas change, only the slope is left


def test_another_training_is_worth_as_much_less_as_noise_hides_of_it() -> None:
    mean, deviation = np.array([0.0, -1.0, 0.5]), np.array([0.1, 0.5, 2.0])
    expected = np.exp(log_expected_improvement(mean, deviation, 0.2)) * (1 - 0.3 / np.sqrt(0.3**2 + deviation**2))
    found = log_augmented_expected_improvement(mean, deviation, 0.2, 0.3)
    assert np.exp(found) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_distances_by_a_product_are_those_one_by_one(seed: int) -> None:
    x, _ = observed(40, seed)
    theta = np.log([0.2, 0.5, 1.0, 0.1, 1.5])
    for other in (x, observed(7, seed + 10)[0]):
        assert _covariance(x, other, UNORDERED, theta) == pytest.approx(kernel(x, other, theta), abs=1e-6)
