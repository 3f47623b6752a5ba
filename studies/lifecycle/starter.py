"""The first files of a project that begins with Caviar: a study, the settings, and a page of what to do next."""

from __future__ import annotations

from dataclasses import dataclass

from caviar.epoch import TRAINING_LOSS
from caviar.studies.way import Way


@dataclass(frozen=True)
class Choices:
    """What a person says of a study that is to be begun.

    Attributes:
        way: how a trial is trained.
        name: the study's name.
        module: the name of the study's file, without `.py`.
        metric: what is searched by.
        direction: `maximize` or `minimize`.
        epochs, budget: as in `caviar.Study`.
        data: the data set of a model.
        command: a program with its arguments.
    """

    way: Way
    name: str
    module: str
    metric: str
    direction: str
    epochs: int
    budget: int
    data: str
    command: str


def study_file(choices: Choices) -> str:
    """Return the text of the study's file, which can be run as it is, but for the program of a command."""
    c, way = choices, choices.way
    subject = {
        Way.TRAIN: f'train="{c.module}:train",',
        Way.OBJECTIVE: f'objective="{c.module}:objective",',
        Way.MODEL: f'model="{c.module}:Net",\n    data={_quoted(c.data)},  # or the path of a function of yours',
        Way.COMMAND: f"command={_quoted(c.command)},",
    }[way]
    epochs = "" if way is Way.OBJECTIVE else f"\n    epochs={c.epochs},"
    tiers = _NAMES if way is Way.OBJECTIVE else _SCALES
    measured = f'    metric={_quoted(c.metric)},\n    direction="{c.direction}",{epochs}'
    study = f"""STUDY = Study(
    name="{c.name}",
    {subject}
{measured}
    budget={c.budget},
    tiers=({tiers}),
)
"""
    reported = f"{c.metric}={'-' if c.direction == 'maximize' else ''}error"
    reported = reported if c.metric == TRAINING_LOSS else f"{TRAINING_LOSS}=loss.item(), {reported}"
    page = _PAGES[way].replace("@FILE@", f"{c.module}.py").replace("@REPORTED@", reported)
    return page.replace("@STUDY@\n", study).rstrip() + "\n"


def _quoted(text: str) -> str:
    """Return a text as a Python literal in double quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


SETTINGS = """\
# Copy this file to .env, fill in what you need, and load it:  set -a; . ./.env; set +a
# Without a database Caviar starts a PostgreSQL of its own: for one machine, nothing has to be set.

# A PostgreSQL that all machines reach. Keep .env out of version control: it has a password.
#CAVIAR_DATABASE_URL=postgresql+psycopg2://USER:PASSWORD@HOST:5432/DATABASE

# Where states of trials go that are too large for that database: a folder that all machines share, or s3://BUCKET/PREFIX
#CAVIAR_CHECKPOINTS=file:///shared/caviar

# The folder of the built-in server, and that of the data sets
#CAVIAR_HOME=
#CAVIAR_DATA_DIR=
"""


def next_page(choices: Choices) -> str:
    """Return a page that says what to do next, as Markdown."""
    file, name = f"{choices.module}.py", choices.name
    return f"""# The study `{name}`

1. {_FIRST[choices.way].replace("FILE", file)}
2. Name the hyperparameters in `tiers`: what matters most comes first. The default of each is the first trial.
3. See what it would do, try it, and run it:

```console
$ caviar plan {file}
$ caviar check {file}
$ caviar run {file} --workers 2
```

After Ctrl-C, or `kill -9`, the same command goes on. From another terminal, or with a shared database (`.env.example`)
from another machine that has this folder:

```console
$ caviar status {name} --watch
$ caviar join {name}
$ caviar enqueue {name} learning_rate=0.01    # try this one next
$ caviar report {name} --open
$ caviar best {name}
```

If the code changes while a study runs, Caviar says which files differ from those that its trials were trained with.
"""


_FIRST = {
    Way.TRAIN: "Put your training into `train` in `FILE`; what the next epoch depends on, into `trial.keep(...)`.",
    Way.OBJECTIVE: 'Put your objective into `FILE`, or name it where it is: `objective="module:function"`.',
    Way.MODEL: 'Put your network into `FILE`, or name it where it is: `model="module:Class"`.',
    Way.COMMAND: "See that the program in `command` takes these options, and prints or reports its metric.",
}
_SCALES = """
        {"learning_rate": Log(1e-4, 1e-1, default=1e-2)},
        {"hidden_units": Linear(16, 128, default=64), "batch_size": PowersOfTwo(16, 128, default=32)},
    """
_NAMES = """
        ["learning_rate"],
        ["hidden_units"],
    """
_TRAIN = '''"""A study of a training of your own. Try it: caviar check @FILE@, then caviar run @FILE@."""

import torch
from caviar import Linear, Log, PowersOfTwo, Study, Trial
from torch import nn

@STUDY@


def train(trial: Trial) -> None:
    """Train one trial. The data, the network and the loss are yours: these learn a sum of squares."""
    generator = torch.Generator().manual_seed(0)  # the same data in every trial
    x = torch.rand(1024, 8, generator=generator)
    y = x.square().sum(1, keepdim=True)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x[:768], y[:768]), batch_size=trial["batch_size"], shuffle=True
    )
    net = nn.Sequential(nn.Linear(8, trial["hidden_units"]), nn.ReLU(), nn.Linear(trial["hidden_units"], 1))
    net.to(trial.device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=trial["learning_rate"])
    trial.keep(net=net, optimizer=optimizer)  # so that an interrupted trial goes on
    for _ in trial.epochs():
        for inputs, targets in trial.batches(loader):
            loss = nn.functional.mse_loss(net(inputs.to(trial.device)), targets.to(trial.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            error = nn.functional.mse_loss(net(x[768:].to(trial.device)), y[768:].to(trial.device)).sqrt().item()
        trial.report(@REPORTED@)
'''
_OBJECTIVE = '''"""A study of an objective as Optuna has it. Run it: caviar run @FILE@."""

import optuna
from caviar import Study

@STUDY@


def objective(trial: optuna.Trial) -> float:
    """Return the value of a trial. Yours may report each epoch, and ask should_prune, as ever."""
    rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
    units = trial.suggest_int("hidden_units", 16, 128)
    return (rate - 1e-2) ** 2 + (units - 64) ** 2
'''
_MODEL = '''"""A study of a network of your own, trained by Caviar's loop as a classifier. Run it: caviar run @FILE@."""

from math import prod

from caviar import Linear, Log, PowersOfTwo, Study
from torch import Tensor, nn

@STUDY@


class Net(nn.Module):
    """A network for examples of the shape `sample`; its hyperparameters are keyword-only and have defaults."""

    def __init__(self, sample: tuple[int, ...], classes: int, *, hidden_units: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(prod(sample), hidden_units), nn.ReLU(), nn.Linear(hidden_units, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map examples (batch, *sample) to logits (batch, classes)."""
        return self.layers(x)
'''
_COMMAND = '''"""A study of a program in any language. Run it: caviar run @FILE@.

The program stays as it is: {args} stands for --learning_rate 0.01 --hidden_units 64 and so on, and {learning_rate} for
that value alone. It says its metric in each epoch, such as {"epoch": 1, "loss": 0.5} as a line of JSON in the file that
CAVIAR_REPORT names, or by its output, which a pattern in report= reads.
"""

from caviar import Linear, Log, PowersOfTwo, Study

@STUDY@
'''
_PAGES = {Way.TRAIN: _TRAIN, Way.OBJECTIVE: _OBJECTIVE, Way.MODEL: _MODEL, Way.COMMAND: _COMMAND}
