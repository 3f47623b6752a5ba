"""Leases in tests: parameters to begin a trial with, and a lease whose time is up."""

from __future__ import annotations

from sqlalchemy import Engine, text

from caviar.storage.records import Lease

DISTRIBUTION = '{"name": "FloatDistribution", "attributes": {"low": 0.0001, "high": 1.0, "log": true, "step": null}}'


PARAMETERS = {"learning_rate": (0.1, DISTRIBUTION)}


def expire(engine: Engine, lease: Lease) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE caviar.slot SET expires_at = now() - interval '1 second' WHERE token = :token"),
            {"token": lease.token},
        )


def lease_of(found: Lease | None) -> Lease:
    assert found is not None
    return found
