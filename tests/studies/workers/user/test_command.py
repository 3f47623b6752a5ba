"""A trial trained by a command: its epochs, its folder, its end, and one sentence for each way to fail."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from caviar.epoch import Epoch
from caviar.models.checkpoint import from_bytes, to_bytes
from caviar.models.errors import BadCheckpoint
from caviar.models.training import Interrupted, never
from caviar.storage.errors import CheckpointNotWritten
from caviar.storage.processes import is_alive
from caviar.studies.errors import CommandFailed
from caviar.studies.workers.trial.training import Ended
from caviar.studies.workers.user import command as module
from caviar.studies.workers.user.command import CommandTraining, Given
from caviar.studies.workers.user.command_line import CommandLine
from caviar.studies.workers.user.program import Program
from tests.helpers.command import until

GIVEN = Given(number=4, seed=7)
EXPRESSION = re.compile(r"epoch (?P<epoch>\d+) rmse (?P<rmse>\S+)")
# Goes on from its folder: writes what it is to be resumed from before it reports.
SAVING = """
n=$(cat $CAVIAR_FOLDER/n 2> /dev/null || echo 0)
while [ $n -lt 5 ]; do
  n=$((n + 1)); echo $n > $CAVIAR_FOLDER/new; mv $CAVIAR_FOLDER/new $CAVIAR_FOLDER/n
  echo "epoch $n rmse $((10 - n))"
  {between}
done
"""


class Commands:
    """Makes trainings of commands, and ends them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made = list[CommandTraining]()

    def __call__(
        self, line: str, expression: re.Pattern[str] | None = EXPRESSION, trial: Given = GIVEN, **given: Any
    ) -> CommandTraining:
        program = Program("own", CommandLine.parse(line), expression, "rmse", self.folder, self.folder / "place")
        self.made.append(CommandTraining(program, {"lr": 1e-05, "units": 64}, trial, **{"grace": 0.3, **given}))
        return self.made[-1]

    def shell(self, script: str, **given: Any) -> CommandTraining:
        (self.folder / "script.sh").write_text(script)
        return self("sh script.sh {trial}", **given)


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    commands_ = Commands(tmp_path)
    yield commands_
    for training in commands_.made:
        training.close(Ended.LOST)


def all_of(training: CommandTraining, last: int = 5) -> list[tuple[int, dict[str, float]]]:
    return [(epoch.epoch, dict(epoch.metrics)) for epoch in training.epochs(last, never)]


def copied(state: dict[str, Any] | None) -> dict[str, Any]:
    """A state as another process reads it."""
    assert state is not None
    return from_bytes(to_bytes(state), torch.device("cpu"))


def text_of(state: dict[str, Any], file: str) -> str:
    return str(state["files"][file].numpy().tobytes().decode())


def test_a_script_is_read_by_an_expression(commands: Commands) -> None:
    training = commands.shell('echo begin; for n in 1 2 3; do echo "epoch $n rmse $n.5 "; echo noise; done')
    assert all_of(training) == [(1, {"rmse": 1.5}), (2, {"rmse": 2.5}), (3, {"rmse": 3.5})]
    assert training.epoch == 3
    assert training.state() is None


def test_a_command_gets_its_values_folder_and_epoch(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "see.py").write_text(
        "import json, os, sys; t = json.load(open(os.environ['CAVIAR_TRIAL']))\n"
        "json.dump([sys.argv[1:], t, dict(os.environ), os.getcwd()], open('seen.json', 'w'))\n"
        "open(os.environ['CAVIAR_REPORT'], 'a').write('{\"rmse\": 1}\\n')\n"
    )
    words = "--lr={lr} {folder} {epoch} {epochs} {seed} {number} {device} {gpus}"
    os.environ |= {"CAVIAR_DATABASE_URL": "secret", "PGPASSWORD": "secret", "CAVIAR_HOME": "x"}
    try:
        training = commands(f"{sys.executable} see.py {words} {{args}}", expression=None)
        assert all_of(training) == [(1, {"rmse": 1})]
    finally:
        for name in ("CAVIAR_DATABASE_URL", "PGPASSWORD", "CAVIAR_HOME"):
            del os.environ[name]
    arguments, trial, variables, folder = json.loads((tmp_path / "seen.json").read_text())
    given = ["0", "5", "7", "4", "cpu", "1", "--lr", "1e-05", "--units", "64"]
    assert arguments == ["--lr=1e-05", trial["folder"], *given]
    assert trial == {
        "number": 4,
        "seed": 7,
        "device": "cpu",
        "gpus": 1,
        "epoch": 0,
        "epochs": 5,
        "folder": trial["folder"],
        "values": {"lr": 1e-05, "units": 64},
    }
    assert {n for n in variables if n.startswith(("CAVIAR", "PG"))} == {
        "CAVIAR_TRIAL", "CAVIAR_REPORT", "CAVIAR_FOLDER", "CAVIAR_EPOCH",
    }  # fmt: skip
    assert "secret" not in str(variables)
    assert folder == str(tmp_path)


@pytest.mark.parametrize(
    ("device", "own", "visible"), [("cuda:1", "cuda:0", "5"), ("cuda", "cuda:0", "3"), ("cpu", "cpu", "3,5")]
)
def test_a_command_sees_its_own_gpu_as_the_first(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, own: str, visible: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    script = 'echo $2 $CUDA_VISIBLE_DEVICES > seen; cp $1 given.json; echo "epoch 1 rmse 1"'
    (tmp_path / "script.sh").write_text(script)
    all_of(commands("sh script.sh {trial} {device}", trial=GIVEN._replace(devices=(device,))), last=1)
    assert (tmp_path / "seen").read_text().split() == [own, visible]
    assert json.loads((tmp_path / "given.json").read_text())["device"] == own


def test_a_program_in_c_is_a_command(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "train.c").write_text(
        "#include <stdio.h>\n#include <stdlib.h>\nint main(int count, char **words) {\n"
        '  double lr = atof(words[2]);\n  FILE *reports = fopen(getenv("CAVIAR_REPORT"), "a");\n'
        '  for (int epoch = 1; epoch <= 3; epoch++) { fprintf(reports, "{\\"rmse\\": %g}\\n", lr * epoch); '
        "fflush(reports); }\n  return 0;\n}\n"
    )
    if os.system(f"cc -o {tmp_path}/train {tmp_path}/train.c") != 0:
        pytest.skip("no C compiler")
    values = [metrics["rmse"] for _, metrics in all_of(commands("./train {args}", expression=None))]
    assert values == [1e-05, 2e-05, 3e-05]


PYTHON = """
import os, caviar
n = int(os.environ["CAVIAR_EPOCH"])
while n < 5:
    n += 1
    with open(os.environ["CAVIAR_FOLDER"] + "/n", "w") as file:
        file.write(str(n))
    caviar.report_epoch(n, loss=n)
    caviar.report_epoch(n, rmse=10 - n)
"""


def test_a_python_program_reports_and_waits_until_its_epoch_is_written(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PYTHON)
    training = commands(f"{sys.executable} train.py {{trial}}", expression=None)
    for epoch in training.epochs(5, never):
        assert epoch.metrics == {"loss": epoch.epoch, "rmse": 10 - epoch.epoch}
        state = copied(training.state())
        assert (state["epoch"], state["waiting"], text_of(state, "n")) == (epoch.epoch, [], str(epoch.epoch))
        if epoch.epoch == 3:
            break
    training.close(Ended.GIVEN_BACK)
    again = commands(f"{sys.executable} train.py {{trial}}", expression=None, state=state)
    assert [number for number, _ in all_of(again)] == [4, 5]


def test_a_command_goes_on_from_its_folder(commands: Commands) -> None:
    script = SAVING.replace("{between}", "sleep 0.3")
    training = commands.shell(script)
    epochs = training.epochs(5, never)
    assert [next(epochs).epoch for _ in range(3)] == [1, 2, 3]
    state = copied(training.state())
    assert state["epoch"] == 3
    training.close(Ended.GIVEN_BACK)
    assert all_of(commands.shell(script, state=state)) == [(4, {"rmse": 6}), (5, {"rmse": 5})]


def test_epochs_that_were_reported_and_not_taken_are_saved_too(commands: Commands) -> None:
    """A script that does not wait is ahead of what the worker has written, and so is its folder."""
    script = SAVING.replace("{between}", "[ $n -ne 4 ] || [ $CAVIAR_EPOCH -gt 0 ] || sleep 600")
    training = commands.shell(script)
    assert next(training.epochs(5, never)).epoch == 1
    until(lambda: len(copied(training.state())["waiting"]) == 3)
    state = copied(training.state())
    training.close(Ended.GIVEN_BACK)
    again = commands.shell(script, state=state)
    assert all_of(again) == [(n, {"rmse": 10 - n}) for n in (2, 3, 4, 5)]


def test_a_command_that_begins_again_repeats_epochs_that_are_known(commands: Commands) -> None:
    script = 'touch $CAVIAR_FOLDER/x; for n in 0 1 2 3 4; do echo "epoch $n rmse $n"; done'
    training = commands.shell(script)
    assert next(training.epochs(5, never)).epoch == 1
    until(lambda: len(copied(training.state())["waiting"]) == 4)
    state = copied(training.state()) | {"epoch": 3, "waiting": []}
    again = commands.shell(script, state=state)
    assert all_of(again) == [(4, {"rmse": 3}), (5, {"rmse": 4})]


def test_a_folder_that_is_ahead_of_the_reports_is_emptied(commands: Commands) -> None:
    """The script was ended between writing its folder and reporting the epoch, which nobody knows then."""
    state = {
        "epoch": 2, "first": 1, "has_metric": True, "waiting": [],
        "files": {"n": torch.tensor(list(b"3"), dtype=torch.uint8)},
    }  # fmt: skip
    training = commands.shell(SAVING.replace("{between}", "echo $CAVIAR_EPOCH >> seen"), state=copied(state))
    assert [number for number, _ in all_of(training)] == [3, 4, 5]
    assert (commands.folder / "seen").read_text().split()[-1] == "0"


@pytest.mark.parametrize(
    "state",
    [
        {"epoch": 2},
        {"epoch": "x", "first": 1, "has_metric": True, "waiting": [], "files": {}},
        {"epoch": 2, "first": None, "has_metric": True, "waiting": [], "files": {}},
        {"epoch": 2, "first": 1, "has_metric": True, "waiting": [3], "files": {}},
        {"epoch": 2, "first": 1, "has_metric": True, "waiting": [], "files": {"../x": torch.zeros(1)}},
        *(
            {"epoch": 2, "first": 1, "has_metric": True, "waiting": waiting, "files": {}}
            for waiting in (
                [[3.0, {"rmse": 1.0}, 1.0]],
                [[4, {"rmse": 1.0}, 1.0]],
                [[3, {"rmse": 1.0}, 1.0], [3, {"rmse": 1.0}, 1.0]],
                [[3, {"rmse": "low"}, 1.0]],
                [[3, {"a\nb": 1.0}, 1.0]],
                [[3, {"rmse": 1.0}, float("nan")]],
            )
        ),
    ],
)
def test_a_state_of_something_else_is_refused(commands: Commands, tmp_path: Path, state: dict[str, Any]) -> None:
    with pytest.raises(BadCheckpoint):
        commands.shell("true", state=state)
    assert [file.name for file in (tmp_path / "place").iterdir()] == ["lock"]


def test_a_link_in_the_folder_is_said(commands: Commands) -> None:
    training = commands.shell('ln -s / $CAVIAR_FOLDER/root; echo "epoch 1 rmse 1"; sleep 600')
    next(training.epochs(5, never))
    with pytest.raises(CheckpointNotWritten, match="root in its folder is a link"):
        training.state()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo one; echo 'boom: x=3'; exit 3", "ended with exit code 3; its last line: boom: x=3\n  one\n  boom: x=3"),
        ("exit 3", "ended with exit code 3; it printed nothing"),
        ("echo x; kill -9 $$", r"was ended by signal 9 \(SIGKILL\), as where memory is short; its last line: x"),
        ("kill -11 $$", r"was ended by signal 11 \(SIGSEGV\); it"),
        (
            "echo nothing to see",
            "no line of its output matches the expression of report=; its last line: nothing to see",
        ),
        ("true", "ended without reporting rmse; no line of its output matches .*; it printed nothing"),
        (
            'echo \'{"epoch": 1, "loss": 3}\' > $CAVIAR_REPORT',
            "without reporting rmse; it reported loss; it printed",
        ),
        ('echo \'{"epoch": 1, "mse": 3}\' > $CAVIAR_REPORT', r"did you mean mse\? it reported mse"),
        ("printf '\\033[31m\\377red\\033[0m\\n'; exit 1", "its last line: \\[31m\ufffdred\\[0m"),
        ("echo 'epoch 1 rmse low'; sleep 600", "the metric 'rmse' is 'low', which is no number; the line: epoch 1"),
        ("echo 'epoch 2 rmse 1'; sleep 600", "the first report is of epoch 2"),
        ("printf '{\"rmse\": 1' > $CAVIAR_REPORT", "a report is no line of JSON"),
        ('echo \'{"rmse": 1, "rmse": 2}\' > $CAVIAR_REPORT; sleep 600', "'rmse' stands twice"),
    ],
)
def test_each_way_to_fail_has_its_sentence(commands: Commands, script: str, why: str) -> None:
    training = commands.shell(script)
    with pytest.raises(CommandFailed, match=why):
        all_of(training)


def test_a_program_that_is_not_there_fails(commands: Commands) -> None:
    with pytest.raises(CommandFailed, match="nowhere cannot be run: No such file or directory"):
        all_of(commands("nowhere {args}"))


def test_nothing_of_a_trial_is_left_on_the_machine(commands: Commands, tmp_path: Path) -> None:
    for script, leave in (
        ("echo 'epoch 1 rmse 1'", never),
        ("exit 1", never),
        ("echo x; sleep 600", lambda alive=True: True),
    ):
        training = commands.shell(f"echo $$ > pid; {script}")
        try:
            next(training.epochs(5, leave))
        except (CommandFailed, Interrupted):
            pass
        else:
            training.close(Ended.COMPLETE)
        assert not is_alive(int((tmp_path / "pid").read_text()))
        assert [file.name for file in (tmp_path / "place").iterdir()] == ["lock"]


def test_what_a_killed_worker_left_is_removed_and_nothing_that_lives(commands: Commands, tmp_path: Path) -> None:
    living = commands.shell("true")
    dead = tmp_path / "place" / "7-dead"
    (dead / "folder").mkdir(parents=True)
    (dead / "lock").touch()
    commands.shell("true")
    assert not dead.exists()
    assert living._attempt.folder.exists()


def test_an_epoch_is_left_at_once(commands: Commands) -> None:
    training = commands.shell("echo 'epoch 1 rmse 1'; sleep 600")
    epochs = training.epochs(5, lambda alive=True: training.epoch == 1)
    assert next(epochs).epoch == 1
    with pytest.raises(Interrupted):
        next(epochs)


def test_silence_is_no_sign_of_life(commands: Commands) -> None:
    asked = list[bool]()

    def leave(alive: bool = True) -> bool:
        asked.append(alive)
        return len(asked) == 4

    with pytest.raises(Interrupted):
        next(commands.shell("sleep 0.5; echo one; sleep 600").epochs(5, leave))
    assert asked.count(True) == 1
    assert asked[-1] is False


def test_a_command_that_was_ended_with_its_worker_has_not_failed(commands: Commands) -> None:
    training = commands.shell("kill $$", is_stopping=lambda: True)
    with pytest.raises(Interrupted):
        all_of(training)


def test_after_the_last_epoch_a_command_comes_to_its_end(commands: Commands, tmp_path: Path) -> None:
    script = 'for n in 1 2; do echo "epoch $n rmse $n"; done; sleep 0.5; echo final > $CAVIAR_FOLDER/model; touch done'
    training = commands.shell(script)
    assert len(all_of(training, last=2)) == 2
    assert text_of(copied(training.state()), "model") == "final\n"
    failing = commands.shell("echo 'epoch 1 rmse 1'; sleep 0.3; echo oops; exit 4")
    with pytest.raises(CommandFailed, match="exit code 4; its last line: oops"):
        all_of(failing, last=1)


def test_a_command_that_trains_on_or_hangs_after_the_last_epoch_is_not_waited_for(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = commands.shell("echo 'epoch 1 rmse 1'; echo 'epoch 2 rmse 2'; sleep 600")
    assert all_of(more, last=1) == [(1, {"rmse": 1})]
    monkeypatch.setattr(module, "_END_SECONDS", 0.2)
    assert all_of(commands.shell("echo 'epoch 1 rmse 1'; sleep 600"), last=1) == [(1, {"rmse": 1})]


def test_output_is_passed_on_and_only_its_end_is_kept(commands: Commands) -> None:
    printed = list[int]()
    script = "head -c 100000000 /dev/zero; echo; for n in $(seq 3000); do echo 0123456789; done; echo 'epoch 1 rmse 1'"
    training = commands.shell(script, write=lambda data: printed.append(len(data)))
    assert all_of(training) == [(1, {"rmse": 1})]
    assert sum(printed) == 100_000_000 + 1 + 3000 * 11 + len("epoch 1 rmse 1\n")
    assert training._tail.last_lines(2) == ["0123456789", "epoch 1 rmse 1"]
    assert len(training._tail._data) <= 16_384


def test_a_command_sees_its_own_gpus_alone(commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for visible, seen in (("", "1,3"), ("4,5,6,7", "5,7")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        training = commands.shell(
            "echo $CUDA_VISIBLE_DEVICES > seen; echo 'epoch 1 rmse 1'",
            trial=GIVEN._replace(devices=("cuda:1", "cuda:3")),
        )
        all_of(training)
        assert (tmp_path / "seen").read_text().strip() == seen


def test_the_time_of_an_epoch_is_measured(commands: Commands) -> None:
    first, second = list[Epoch](
        commands.shell('for n in 1 2; do sleep 0.2; echo "epoch $n rmse 1"; done').epochs(5, never)
    )
    assert min(first.seconds, second.seconds) > 0.15
