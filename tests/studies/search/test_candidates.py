"""Candidates: what a study can store, near the best and anywhere, and none twice."""

from __future__ import annotations

import numpy as np
import pytest

from caviar.studies.search.candidates import candidates, cube, unseen
from caviar.studies.space.base import BaseScale
from tests.helpers.studies import ALL_SCALES, small_study

CUBE = cube(small_study(tiers=({str(number): scale for number, scale in enumerate(ALL_SCALES)},)))
EVERYTHING = np.ones(len(ALL_SCALES), bool)


@pytest.mark.parametrize("scale", ALL_SCALES, ids=str)
def test_a_point_is_snapped_to_the_value_that_is_stored_for_it(scale: BaseScale) -> None:
    units = np.concatenate([np.linspace(0, 1, 500), [-0.2, 1.2]])
    snapped = cube(small_study(tiers=({"h": scale},))).snap(units[:, None])[:, 0]
    assert snapped == pytest.approx([scale.unit(scale.value(float(u))) for u in np.clip(units, 0, 1)], abs=1e-12)


def test_what_is_not_free_stays_and_all_else_moves() -> None:
    start = CUBE.snap(np.full((1, len(ALL_SCALES)), 0.5))
    free = np.arange(len(ALL_SCALES)) < 4
    points = candidates(CUBE, start, free, np.random.default_rng(0))
    assert np.all(points[:, ~free] == start[0, ~free])
    assert np.all((points != start)[:, free].any(axis=0))
    assert np.all((points >= 0) & (points <= 1))


def test_three_of_four_are_near_one_of_the_three_best() -> None:
    starts = CUBE.snap(np.random.default_rng(1).random((5, len(ALL_SCALES))))
    points = candidates(CUBE, starts, EVERYTHING, np.random.default_rng(0))
    assert points.shape == (600, len(ALL_SCALES))
    ordered = ~CUBE.unordered
    away = np.abs(points[:450, None, ordered] - starts[None, :3, ordered])
    assert np.median(away.mean(axis=2).min(axis=1)) < 0.15
    away = np.abs(points[450:, None, ordered] - starts[None, :3, ordered])
    assert np.median(away.mean(axis=2).min(axis=1)) > 0.2


def test_what_was_taken_is_not_offered_again_unless_nothing_else_is_left() -> None:
    points = np.array([[0.25, 0.5], [0.75, 0.5], [0.25, 0.1]])
    assert unseen(points, points[:1] + 1e-15).tolist() == points[1:].tolist()
    assert unseen(points, points[:0]).tolist() == points.tolist()
    assert unseen(points, points).tolist() == points.tolist()
