"""Who is responsible for a change: the process's user, or the person for whom it acts, in one thread."""

from __future__ import annotations

import threading

from caviar.storage.who import acting_for, current_user


def test_a_process_acts_for_its_user_and_within_a_context_for_a_person() -> None:
    own = current_user()
    assert "@" in own
    with acting_for("ann\x1b[2J@10.0.0.7"):
        assert current_user() == "ann\\x1b[2J@10.0.0.7"
        seen: list[str] = []
        other = threading.Thread(target=lambda: seen.append(current_user()))
        other.start()
        other.join()
        assert seen == [own]
    assert current_user() == own
