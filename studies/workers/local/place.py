"""The place of one worker in the pool: the process that has it now, and how that one ended."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from multiprocessing.context import ForkServerContext

from caviar.durations import in_words
from caviar.storage.losses import LIMIT
from caviar.storage.processes import Process, descendants, end, name_of
from caviar.storage.records import WorkerDeath
from caviar.storage.trial_logs import TrialLogs
from caviar.studies.errors import WorkersFailed
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.process import RANK_STARTER, SHOW_STACK, Lines, no_main_module, no_signals, work
from caviar.studies.workers.local.pulse import SIZE, Limited, Pulse
from caviar.studies.workers.local.stacks import hanging_rank, place_in, ranks_of
from caviar.studies.workers.local.watchdog import Watchdog, silence_limit
from caviar.studies.workers.trial.time_limit import overtime
from caviar.studies.workers.user.process_group import is_guardian

LOST = 255  # what multiprocessing makes of the exit code when the fork server, which knew it, has died
# Of one place among the workers, in a row and without an epoch, before the run gives up: a slot is abandoned after
# `losses.LIMIT`, and the next configurations may crash, too. Three in a row are no bad luck, as `SAME_ERRORS` are none.
_RESTARTS = 3 * LIMIT
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT)  # of the process's own making
_BACK_OFF_SECONDS, _LONGEST_BACK_OFF = 1.0, 4.0  # doubled with every restart
_LEAST_GRACE = 5.0  # seconds: with --grace 0, too, a sound worker hears of it between two batches
_STACK_SECONDS, _END_SECONDS = 2.0, 5.0  # that a process may take to show its stack, and to end after SIGKILL
_LONGEST_STACK = 16_000  # characters; the last ones are those of the main thread, which trains


class Place:
    """The place of one worker, and its process."""

    def __init__(self, context: ForkServerContext, options: WorkerOptions, device: str, logs: TrialLogs) -> None:
        self.restarts = 0  # since a process that trained an epoch
        self._restart_at: float | None = None  # where the process has ended, and another one is to begin
        self._context, self._options, self._device, self._logs = context, options, device, logs
        self._start()

    @property
    def pid(self) -> int:
        return self.process.pid or 0

    @property
    def exit_code(self) -> int | None:
        """How the process ended: negative for a signal, None while it runs."""
        return self.process.exitcode

    @property
    def is_vacant(self) -> bool:
        """Whether the process has ended, and the pool knows."""
        return self._restart_at is not None

    @property
    def too_long(self) -> float | None:
        """The seconds that a trial would have taken for which the worker had no time, and left; None if it did not."""
        return self._pulse.too_long

    @property
    def leaves(self) -> bool:
        """Whether the worker is to leave, since somebody frees its machine."""
        return self._pulse.leaves

    def let_leave(self) -> None:
        """Let the worker leave after its epoch."""
        self._pulse.leave()

    @property
    def longest_epoch(self) -> float:
        """Seconds of the longest epoch of this process; 0 before the first."""
        return self._pulse.longest_epoch

    def _start(self) -> None:
        self._goodbyes, goodbye = self._context.Pipe(duplex=False)
        self._stacks, stacks = self._context.Pipe(duplex=False)
        shared = self._context.RawArray("d", SIZE)
        self._pulse = Pulse(shared)
        self._pulse.starting()
        arguments = (self._options, self._device, Lines(goodbye, stacks, shared))
        self.process = self._context.Process(target=work, args=arguments, name="caviar worker")
        with no_signals(), no_main_module():
            self.process.start()
        for line in (goodbye, stacks):
            line.close()
        self._watchdog = Watchdog(self._pulse, self.pid)
        self._stack = b""
        self._started = set[Process]()  # by the process, which its training may do
        self._goodbye: str | None = None
        self._was_ended = False  # by `end_if_hanging`
        self._restart_at = None

    def restart_if_due(self) -> bool:
        """Start another process, if its time has come; return whether it has."""
        if self._restart_at is None or time.monotonic() < self._restart_at:
            return False
        self._start()
        return True

    def goodbye(self) -> str | None:
        """Return what the worker said before it left: empty, or why it failed; None if it left without a word."""
        if self._goodbye is None:
            with suppress(EOFError):
                if self._goodbyes.poll():
                    self._goodbye = str(self._goodbyes.recv())
        return self._goodbye

    def end_if_hanging(self, longest_epoch: float, *, asked: bool) -> WorkerDeath | None:
        """End the process if its training hangs, or its trial takes too long and is not left; return why, or None.

        Args:
            longest_epoch: seconds of the longest epoch so far, of any worker.
            asked: whether somebody asked for the end of this worker's training in the middle of an epoch.
        """
        self._read_stack(0.0)  # what a crash writes must not fill the line
        self._logs.cut(self._pulse.log)
        self._started |= descendants(self.pid)
        watchdog = self._watchdog
        watchdog.measure(asked=asked)
        limit = silence_limit(self._pulse, longest_epoch, self._options.epoch_timeout)
        grace = max(self._options.grace, _LEAST_GRACE)
        hangs, overdue = watchdog.silence >= limit, self._overdue()
        if not hangs and overdue is None and (not asked or watchdog.silence_since_asked < grace):
            return None
        stack, where = self._ask_for_stacks()
        self._was_ended = True
        self.process.kill()
        self.process.join(_END_SECONDS)
        output = self._last_lines()
        if overdue is not None:
            why = f"{overtime(overdue.limit)}, and was not left{where}"
            return WorkerDeath(why, stack, output, is_loss=False, overdue=overdue.trial)
        if hangs:
            why = f"its training hung{where}: no batch for {in_words(watchdog.silence)}"
            return WorkerDeath(why, stack, output, is_own=True)
        why = f"its training did not leave{where}, {grace:g} s after it was asked to"
        return WorkerDeath(why, stack, output, is_loss=False)

    def _overdue(self) -> Limited | None:
        """Return the trial that takes too long, and has had time to be left."""
        return self._pulse.limited if self._watchdog.late > _LEAST_GRACE else None

    def clear(self) -> None:
        """End what the process has started and left behind when it ended, and cut what it printed last.

        The guardian of a command, and what starts ranks, are left to their work: they end also what was started since
        the last look.
        """
        end(p for p in self._started if not is_guardian(p.pid) and name_of(p.pid) != RANK_STARTER)
        self._started.clear()
        self._logs.cut(self._pulse.log)

    def death(self) -> WorkerDeath:
        """Return how a process ended that has said nothing."""
        code = self.exit_code or 0
        if code == LOST:
            return WorkerDeath("it was lost with the process that starts workers")
        if code >= 0:
            why = f"its training left the process with exit code {code}"
            return WorkerDeath(why, output=self._last_lines(), is_own=True)
        stack, is_own = self._read_stack(0.0), -code in CRASHES
        return WorkerDeath(
            f"it was killed by signal {-code}{place_in(stack)}", stack, self._last_lines(), is_own=is_own
        )

    def _last_lines(self) -> str:
        """Return the last lines that the training printed."""
        trial = self._pulse.log
        return "" if trial is None else self._logs.last_lines(trial)

    def vacate(self, death: WorkerDeath | None = None) -> None:
        """Plan the start of another process, after a pause that grows with each that died.

        Raises:
            WorkersFailed: too many died in a row, and none of them had trained an epoch.
        """
        pause = _BACK_OFF_SECONDS
        if death is not None and death.is_loss:
            if self.longest_epoch:
                self.restarts = 0
            if self.restarts >= _RESTARTS:
                is_killed = self.exit_code == -signal.SIGKILL and not self._was_ended
                advice = "is there enough memory? Fewer workers need less: --workers 1"
                raise WorkersFailed(
                    f"a worker died {self.restarts + 1} times in a row before it had trained an epoch; the last time "
                    f"{death.why}; {advice if is_killed else f'see: caviar history {self._options.study}'}"
                )
            pause = min(_LONGEST_BACK_OFF, _BACK_OFF_SECONDS * 2**self.restarts)
            self.restarts += 1
        self._restart_at = time.monotonic() + pause

    def leave_vacant(self) -> None:
        """Start no other process."""
        self._restart_at = None

    def _ask_for_stacks(self) -> tuple[str, str]:
        """Return the stacks of what trains, and where it is: of the worker, or of the ranks of its trial."""
        stacks = {rank: self._ask_for_stack(pid) for rank, pid in ranks_of(self.pid).items()}
        if not stacks:
            stack = self._ask_for_stack(self.pid)
            return stack, place_in(stack)
        rank, longest = hanging_rank(stacks), _LONGEST_STACK // len(stacks)
        together = "\n".join(f"Rank {number}:\n{stack[-longest:]}" for number, stack in stacks.items())
        where = place_in(stacks[rank])
        return together, f" in rank {rank}{',' if where else ''}{where}"

    def _ask_for_stack(self, pid: int) -> str:
        """Have a process show its stacks, and return them."""
        self._stack = b""
        with suppress(ProcessLookupError):
            os.kill(pid, SHOW_STACK)
        return self._read_stack(_STACK_SECONDS)

    def _read_stack(self, seconds: float) -> str:
        """Return what the process has written of its stacks, once it has paused or after so many seconds."""
        deadline = time.monotonic() + seconds
        with suppress(EOFError, OSError):
            while self._stacks.poll(max(0.0, deadline - time.monotonic())):
                read = os.read(self._stacks.fileno(), 65_536)
                if not read:
                    break
                self._stack += read
                deadline = min(deadline, time.monotonic() + seconds / 10)
        return self._stack.decode("utf-8", "replace")[-_LONGEST_STACK:]
