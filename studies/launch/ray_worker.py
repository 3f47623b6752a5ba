"""The actor of a worker on Ray: it runs `caviar join` as a process.

It needs no call: it begins by itself, also when Ray starts it anew on another node. It is imported there.
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
from collections.abc import Sequence

from caviar.studies.launch.turns import Turns, pause_after
from caviar.text import one_line

FAILED = "caviar join: "  # before the reason of an actor that ended for good, where Ray keeps it


class Worker:
    """A worker, as an actor.

    Args:
        arguments: those of the command caviar.
        caviar: how that command is called here; empty for this Python's own.
        leaving: seconds that it may take to leave after SIGTERM, before it is killed.
    """

    def __init__(self, arguments: Sequence[str], caviar: str, leaving: float) -> None:
        import ray

        context = ray.get_runtime_context()
        self._name = context.get_actor_name() or ""
        words = [*(shlex.split(caviar) or [sys.executable, "-m", "caviar"]), *arguments]
        self._turns = Turns(words, {**os.environ, "CAVIAR_JOB": self._name}, leaving)
        self._is_again = context.was_current_actor_reconstructed
        threading.Thread(target=self._work, daemon=True).start()

    def stop(self) -> None:
        """Let the process leave, and end the actor for good; return at once."""
        self._turns.stop()

    def end(self, reason: str) -> None:
        """End the actor for good: a method that leaves Python with 0 is no failure to Ray.

        Args:
            reason: why it failed; empty if it did not.
        """
        leaving = SystemExit(0)
        leaving.ray_terminate_msg = f"{FAILED}{reason}" if reason else ""  # type: ignore[attr-defined] # Ray keeps it
        raise leaving

    def _work(self) -> None:
        import ray

        if self._is_again:  # an actor that dies again and again must not keep its nodes busy
            self._turns.wait(pause_after(2))
        try:
            reason = self._turns.run()
        except Exception as error:  # noqa: BLE001 - a thread that ended would leave an actor that does nothing
            reason = f"{type(error).__name__}: {error}"
        ray.get_actor(self._name).end.remote(one_line(reason))
