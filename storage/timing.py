"""The times by which leases, workers and outages are judged, in seconds. Nothing else names them as literals.

A worker renews its lease four times before the lease can expire, so three renewals in a row may be lost. Whoever misses
the fourth is taken for dead: any other worker may then take the slot over.
"""

from caviar.limits import SECONDS

LEASE = 60.0  # how long a lease lasts without being renewed
RENEW = LEASE / 4  # between two renewals
LEAST_LEASE, LEAST_RENEW = 0.5, 0.1  # below, a busy machine loses every lease
SILENT = LEASE  # without a sign of life, after which a worker that holds no lease is taken for dead
GRACE = 20.0  # that the epoch in progress may take after a signal to stop
# A training without a batch for so long hangs: so many times as long as the longest epoch so far, but at least some
# minutes; and before the first epoch of any worker of the command, which may load data and compile the model, an hour.
EPOCHS_OF_SILENCE = 10
LEAST_SILENCE = 300.0
FIRST_SILENCE = 3600.0
PATIENCE = 900.0  # that a database which is away is waited for, by default
MOST_PATIENCE = SECONDS  # and at most: after that, `caviar doctor --fix` may remove what a worker has kept
