"""The states of studies, slots and trials, and the kinds of events, as the database stores them.

A study has a budget of slots. A slot is leased by one worker at a time, which trains the slot's one trial:

    slot     open ──lease──> leased ──finish──> done
              ^                │
              ├───release──────┤   the worker pauses or stops
              ├───expiry───────┤   the worker died, or lost the database
              │                ├───fifth expiry in a row without a new epoch──> abandoned
              │                └───another Optuna program ends its trial──> ended elsewhere (from open, too)
              │
    trial    open ──first lease──> running ──finish──> complete | pruned | fail
                                      │
                                      └── stays running while its slot is open again, and fails with an abandoned slot

Each enum is a `StrEnum`, so its members equal the stored text, in Python, in SQL parameters and in JSON.
"""

from __future__ import annotations

from enum import StrEnum


class Control(StrEnum):
    """What the workers of a study shall do. Whether a study is finished follows from its slots."""

    RUN = "run"  # lease slots and train
    PAUSE = "pause"  # give trials back after their epoch, and wait
    STOP = "stop"  # give trials back after their epoch, and exit


class SlotState(StrEnum):
    """How far one unit of a study's budget is."""

    OPEN = "open"  # free to be leased, for the first time or to continue its trial
    LEASED = "leased"  # a worker holds it until its lease expires
    DONE = "done"  # its trial has ended; the slot is spent
    ABANDONED = "abandoned"  # lost so often in a row that it is not tried again; spent, too
    ENDED_ELSEWHERE = "ended elsewhere"  # another Optuna program ended its trial; spent, too


UNSPENT = (SlotState.OPEN, SlotState.LEASED)
SPENT = (SlotState.DONE, SlotState.ABANDONED, SlotState.ENDED_ELSEWHERE)


class TrialState(StrEnum):
    """The state of a slot's trial. Optuna stores the names of the members that are its own."""

    OPEN = "open"  # no trial yet: its values are not chosen
    RUNNING = "running"  # a worker trains it
    INTERRUPTED = "interrupted"  # begun, and left or lost by its worker: the next one to take it up goes on with it
    COMPLETE = "complete"  # trained for all of its epochs, or diverged on the way
    PRUNED = "pruned"  # stopped early, by a pruner or by hand
    FAIL = "fail"  # raised an error
    ABANDONED = "abandoned"  # its slot was
    ENDED_ELSEWHERE = "ended elsewhere"  # by another Optuna program, whose result counts for the search alone
    WAITING = "waiting"  # enqueued by another Optuna program; no slot's trial ever is


class Phase(StrEnum):
    """How the values of a slot's trial are chosen."""

    DEFAULT = "default"  # the scales' default values: the first trial
    PRIOR = "prior"  # the winner of an earlier study
    COARSE = "coarse"  # some hyperparameters over their whole range
    FINE = "fine"  # close to the best configuration so far
    ALL = "all"  # every hyperparameter, by a model of the trials so far
    RANDOM = "random"  # the strategy `random`
    GRID = "grid"  # the strategy `grid`
    TPE = "tpe"  # the strategy `tpe`
    GP = "gp"  # the strategy `gp`
    OPTUNA = "optuna"  # a strategy that is one of Optuna's samplers, such as `optuna:CmaEsSampler`
    DAY = "day"  # no search: a day of a panda
    LOOK = "look"  # no search: a candidate for a panda's next day

    @classmethod
    def _missing_(cls, value: object) -> Phase | None:
        """Return the phase of a strategy that has none of its own name."""
        return cls.OPTUNA if isinstance(value, str) and value.startswith(f"{cls.OPTUNA}:") else None


class NudgeState(StrEnum):
    """What became of a nudge, a change of a panda's settings."""

    WAITING = "waiting"  # for the next epoch
    TAKEN = "taken"  # in effect since some epoch of some day
    DROPPED = "dropped"  # before it took effect


class WorkerState(StrEnum):
    """The state of a worker process.

    idle ⇄ training ──► ended
      └──────┴────────► lost
    """

    IDLE = "idle"  # heard of lately, without a trial
    TRAINING = "training"  # holds at least one lease
    ENDED = "ended"  # said goodbye
    LOST = "lost"  # silent for too long, and without a lease


class EventKind(StrEnum):
    """What an event in a study's journal tells of."""

    # The study.
    CREATED = "created"  # it was registered with its slots
    DATA_READ = "data read"  # how many examples the user's own data have, when it was registered
    RETUNED = "retuned"  # it was registered with the results of an earlier study
    DEFINITION_CHANGED = "definition changed"  # a new version was written
    ENDED_EARLY = "ended early"  # a new version with the budget of the trials that had begun, since its rule is reached
    RESUMED = "resumed"  # its control became `run`
    PAUSED = "paused"  # its control became `pause`
    STOPPED = "stopped"  # its control became `stop`
    FREED = "machine freed"  # somebody asked the workers of a host or of a scheduler's job to leave
    OTHER_VERSIONS = "other versions"  # a worker joined with other package versions than the study's
    MISMATCH_ALLOWED = "mismatch allowed"  # a worker joined with other code or data, as somebody allowed
    LAUNCHED = "launched"  # workers for it were submitted to a scheduler
    LAUNCH_STOPPED = "launch stopped"  # and their job was ended there
    # Leases.
    TAKEN_OVER = "taken over"  # a worker continues a trial that another one began
    GIVEN_BACK = "given back"  # a worker released a trial that it had begun
    LEASE_EXPIRED = "lease expired"  # nobody renewed it in time
    WORKER_DIED = "worker died"  # its process is known to have ended
    LEASE_TAKEN_AGAIN = "lease taken again"  # by the worker that had lost it, after an outage
    ABANDONED = "abandoned"  # the slot was lost too often in a row
    # Trials.
    TRIAL_FAILED = "trial failed"  # it raised an error
    RAISED_AFTER_END = "raised after its end"  # the user's code did, when the result was written already
    ENQUEUED = "enqueued"  # somebody asked for a trial with these values
    ENQUEUED_REFUSED = "enqueued trial refused"  # no slot can have the values that another program gave it
    KILL_ASKED = "kill asked"  # somebody asked to end it
    OUT_OF_MEMORY = "out of memory"  # on one worker; another one may have more
    TRAINED_AGAIN = "trained again"  # with another seed, to confirm the winner
    TIMED_OUT = "timed out"  # it took too long, and heard no request to leave: its worker was ended for it
    ENDED_ELSEWHERE = "ended elsewhere"  # another Optuna program ended a slot's trial
    ZOMBIE_ENDED = "zombie ended"  # `caviar doctor` failed a trial that only seemed to run
    # Checkpoints and outages.
    CHECKPOINT_REFUSED = "checkpoint refused"  # it does not fit; the trial began anew
    CHECKPOINT_NOT_WRITTEN = "checkpoint not written"  # the one before is still there
    CHECKPOINT_OUT_OF_REACH = "checkpoint out of reach"  # its file cannot be read now
    DATABASE_BACK = "database back"  # a worker wrote the epochs of an outage
    LOCAL_STATE_USED = "went on from this machine's own state"  # which was newer than the database's
    LOCAL_STATE_DROPPED = "this machine's own state is not used"  # it contradicts the database, or is damaged
    # Workers and pandas.
    COHORT_SIZE = "cohort size"  # how many trials a worker trains together
    BORN = "born"  # a panda's first day has its data
    WENT_BACK = "went back"  # a panda's next day builds on an earlier one
    PICKED = "picked"  # a panda's next day builds on the best of several candidates
    NOTE = "note"  # a person's remark on a panda
