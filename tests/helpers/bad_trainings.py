"""Bad studies of trainings of one's own: what a person may well get wrong, one thing each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_TIERS = '({"lr": Log(1e-3, 1, default=0.1)},)'
_SOUND: Mapping[str, Mapping[str, str]] = {  # the fields of a study that works, as they stand in its file
    "train": {"train": '"tune:train"', "metric": '"loss"', "epochs": "2", "budget": "4", "tiers": _TIERS},
    "objective": {"objective": '"tune:train"', "direction": '"minimize"', "budget": "4", "tiers": '[["lr"]]'},
    "command": {"command": '"sh train.sh {lr}"', "report": 'r"loss (?P<loss>\\S+)"', "metric": '"loss"', "epochs": "2",
                "budget": "4", "tiers": _TIERS},
}  # fmt: skip
_CODE = {
    "train": "def train(trial):\n    for epoch in trial.epochs():\n        trial.report(loss=trial['lr'] / epoch)",
    "objective": "def train(trial):\n    return trial.suggest_float('lr', 0, 1)",
    "command": "",
}
_SCRIPT = "echo loss $1; echo loss 0.5"


@dataclass(frozen=True)
class Bad:
    """A bad study.

    Args:
        name: what is wrong, in a few words.
        way: how its training gets in.
        told: what its message has to say; all of these texts.
        fields: of the study, as its file has them, where they differ from a sound one's; None for one that is missing.
        code: what the file has in place of a sound function.
        script: of a command, in place of a sound one.
        seen_by_check: whether `check` sees it, where only a training can.
    """

    name: str
    way: str
    told: tuple[str, ...]
    fields: Mapping[str, str | None] = field(default_factory=dict)
    code: str | None = None
    script: str = _SCRIPT
    seen_by_check: bool = True

    def __str__(self) -> str:
        return f"{self.way}, {self.name}"

    def write(self, folder: Path, study: str) -> None:
        """Write the project: the study's file `tune.py`, and what a command runs."""
        own = {self.way if name == "WAY" else name: value for name, value in self.fields.items()}
        given = {"name": f'"{study}"', **_SOUND[self.way], **own}
        fields = ", ".join(f"{name}={value}" for name, value in given.items() if value is not None)
        code = _CODE[self.way] if self.code is None else self.code
        (folder / "broken.py").write_text("1 / 0\n")
        head = "from caviar import Choice, Grid, Linear, Log, Study\n"
        (folder / "tune.py").write_text(f"{head}\n\nSTUDY = Study({fields})\n\n\n{code}\n")
        (folder / "train.sh").write_text(f"{self.script}\n")


def _fields(*ways: str, **cases: tuple[Mapping[str, str | None], str]) -> list[Bad]:
    """Bad fields, for each of the ways."""
    return [Bad(name, way, (told,), fields) for way in ways for name, (fields, told) in cases.items()]


_F, _OWN, _ALL = ("train", "objective"), ("train", "command"), ("train", "objective", "command")

REFUSED: list[Bad] = [  # before anything is trained, by `plan`, `check` and `run` alike
    *_fields(
        *_ALL,
        name_with_a_space=({"name": '"two words"'}, "letters, digits and . _ -"),
        name_is_a_number=({"name": "3"}, "name: "),
        no_budget=({"budget": None}, "budget: it is missing"),
        budget_is_a_text=({"budget": '"many"'}, "budget: "),
        budget_of_none=({"budget": "0"}, "budget: give 1 or more; given 0"),
        epochs_are_a_fraction=({"epochs": "2.5"}, "epochs: "),
        epochs_below_one=({"epochs": "0"}, "epochs: give 1 or more; given 0"),
        direction_in_other_words=({"direction": '"min"'}, "give 'maximize' or 'minimize'"),
        a_metric_without_a_name=({"metric": '" "', "direction": '"minimize"'}, "the metric has no name"),
        a_metric_that_is_a_number=({"metric": "3"}, "metric: "),
        a_metric_that_contradicts=({"metric": '"accuracy"', "direction": '"minimize"'}, "accuracy is something to"),
        a_field_that_is_misspelt=({"epoch_timout": "3"}, "did you mean epoch_timeout?"),
        a_duration_in_words=({"epoch_timeout": '"soon"'}, "soon"),
        a_duration_below_nothing=({"trial_timeout": "-1"}, "trial_timeout"),
        a_strategy_that_is_misspelt=({"strategy": '"teired"'}, "did you mean tiered?"),
        a_pruner_that_is_misspelt=({"pruner": '"medain"'}, "did you mean median?"),
        two_ways=({"model": '"mlp"'}, "give one of model, train, objective, command"),
        data_of_a_model=({"data": '"digits"'}, "data is for a model="),
        loss_of_a_model=({"loss": '"tune:loss"'}, "loss is for a model="),
        metrics_of_a_model=({"metrics": '{"f1": "f1_score"}'}, "metrics is for a model="),
        a_seed_below_nothing=({"seed": "-1"}, "seed: "),
    ),
    *_fields(
        *_OWN,
        no_epochs=({"epochs": None}, "epochs: it is missing"),
        no_tiers=({"tiers": None}, "tiers: "),
        tiers_without_ranges=({"tiers": '[["lr"]]'}, "tiers has names without scales"),
        tiers_without_a_list=({"tiers": '{"lr": Log(1e-3, 1, default=0.1)}'}, "tiers: "),
        a_range_of_two_numbers=({"tiers": '[{"lr": (0, 1)}]'}, "tiers.0.lr: "),
        a_default_outside_its_range=({"tiers": '[{"lr": Log(1e-3, 1, default=2)}]'}, "the default 2 is outside"),
        a_range_without_a_default=({"tiers": '[{"lr": Log(1e-3, 1)}]'}, "default"),
        a_range_that_is_empty=({"tiers": '[{"lr": Linear(1, 1, default=1)}]'}, "the range 1 to 1 is empty"),
        a_scale_that_is_misspelt=({"tiers": '[{"lr": Lgo(1, 2, default=1)}]'}, "did you mean Log"),
        a_metric_that_says_no_direction=({"metric": '"rmse"', "report": None}, "does not say what is better"),
        a_constraint_in_words=({"constraints": '{"ms": "low"}'}, "constraints.ms: "),
        a_constraint_that_is_no_number=({"constraints": '{"ms": float("nan")}'}, "constraints.ms: "),
        constraints_without_bounds=({"constraints": '["ms"]'}, "constraints: "),
        a_constraint_of_a_name_that_is_taken=({"constraints": '{"diverged": 1}'}, "'diverged' is the constraint of"),
        a_hyperparameter_twice=({"fixed": '{"lr": 1}'}, "'lr' stands twice: in a tier and in fixed"),
        a_tier_that_is_empty=({"tiers": "[{}]"}, "tier 1 is empty"),
        gpus_in_words=({"gpus": '"all"'}, "gpus: "),
        too_many_gpus=({"gpus": "65"}, "gpus: give 64 or less; given 65"),
    ),
    *_fields(
        *_F,
        a_module_that_is_missing=({"WAY": '"tuen:train"'}, "no function at 'tuen:train'"),
        a_function_that_is_misspelt=({"WAY": '"tune:trian"'}, "did you mean train?"),
        a_path_without_a_colon=({"WAY": '"tune.train"'}, "give the path of a function, package.module:function"),
        a_path_of_a_file=({"WAY": '"tune.py"'}, "give the path of a function, package.module:function"),
        a_function_itself=({"WAY": "print"}, "give its path as a text, package.module:print"),
        a_module_that_is_broken=({"WAY": '"broken:train"'}, "no function at 'broken:train'"),
        report_of_a_command=({"report": '"x"'}, "report is for a command=, not for"),
    ),
    *(
        Bad(name, way, (told,), code=code)
        for way in _F
        for name, code, told in (
            ("a function without a parameter", "def train():\n    pass", "cannot be called with a trial alone"),
            ("a function of two parameters", "def train(trial, data): pass", "a required argument: 'data'"),
            ("a function of keywords", "def train(*, trial):\n    pass", "cannot be called with a trial alone"),
            ("an async function", "async def train(trial):\n    pass", "is an async function"),
            ("a generator", "def train(trial):\n    yield 1", "is a generator"),
            ("a class", "class train:\n    pass", "is a class"),
            ("a number", "train = 3", "is no function: 3"),
            ("no function", "", "no function at 'tune:train'"),
            ("code that raises when it is read", "1 / 0", "ZeroDivisionError"),
            ("code that ends Python", "import sys\nsys.exit(3)", "it calls sys.exit(3)"),
            ("code that is no Python", "def train(trial:", "line"),
            ("a study of another type", "STUDY = dict(train='tune:train')", "is of type dict, not caviar.Study"),
            ("no study", "del STUDY", "has no STUDY; write STUDY = Study(...) in it"),
            ("a module that is not installed", "import nowhere_at_all", "No module named 'nowhere_at_all'"),
        )
    ),
    *_fields(
        "train",
        a_test_that_is_missing=({"test": '"tune:tset"'}, "no function at 'tune:tset'"),
        a_test_that_is_no_path=({"test": '"test"'}, "test is 'test'; give the path of a function"),
    ),
    Bad("a test without a parameter", "train", ("cannot be called with a trial alone",), {"test": '"tune:test"'},
        f"{_CODE['train']}\n\n\ndef test():\n    pass"),
    *_fields(
        "objective",
        no_direction=({"direction": None}, "give direction='minimize' or direction='maximize'"),
        tiers_with_ranges=({"tiers": _TIERS}, "give tiers as lists of names"),
        tiers_of_texts=({"tiers": '["lr"]'}, "tiers: give a mapping of names to scales, or a list of names"),
        a_name_twice=({"tiers": '[["lr"], ["lr"]]'}, "'lr' stands twice"),
        more_tiers=({"tiers": '[["a"], ["b"], ["c"], ["d"], ["e"]]'}, "tiers: give 4 at most"),
        a_grid=({"strategy": '"grid"'}, "the strategy grid needs the ranges before the first trial"),
        fixed_values=({"fixed": '{"a": 1}'}, "fixed is not for an objective="),
        constraints_outside=({"constraints": '{"ms": 1}'}, "call trial.set_constraint(...) in it"),
        several_gpus=({"gpus": "2"}, "gpus is for a train= function or a command="),
        a_test_of_the_winner=({"test": '"tune:train"'}, "test is for a train= function"),
    ),
    *_fields(
        "command",
        a_program_that_is_missing=({"command": '"pyhton train.py {lr}"'}, "there is no program 'pyhton'"),
        a_path_that_is_missing=({"command": '"./run {lr}"'}, "there is no program './run' in "),
        a_program_that_cannot_be_executed=({"command": '"./train.sh {lr}"'}, "'./train.sh' cannot be executed;"),
        a_folder_for_a_program=({"command": '"/tmp {lr}"'}, "'/tmp' is a folder; give the program in it"),
        no_command=({"command": '""'}, "the command is empty; give a program"),
        an_open_quote=({"command": '"sh -c \'echo {lr}"'}, "no closing quotation"),
        a_placeholder_that_is_misspelt=({"command": '"sh train.sh {lrr}"'}, "did you mean lr?"),
        a_lone_brace=({"command": '"sh train.sh {lr"'}, "has a lone {; write {{ for a brace"),
        a_value_that_goes_nowhere=({"command": '"sh train.sh"'}, "the command does not get lr; write {lr}"),
        all_values_in_a_word=({"command": '"sh train.sh --all={args}"'}, "{args} stands for several words"),
        a_list_of_words=({"command": '["sh", "train.sh", "{lr}"]'}, "command: "),
        a_control_character=({"command": '"sh \\0 {lr}"'}, "the command has the control character"),
        a_very_long_command=({"command": '"sh " + "x" * 3000'}, "the command has 3,003 characters, more than 2,000"),
        an_expression_that_is_none=({"report": 'r"loss (?P<loss>\\S+"'}, "is no regular expression"),
        an_expression_without_groups=({"report": 'r"loss \\S+"'}, "has no group for loss, (?P<loss>\\S+)"),
        a_group_that_is_misspelt=({"report": 'r"(?P<los>\\S+)"'}, "did you mean los?"),
        a_group_that_stands_twice=({"report": 'r"(?P<loss>.)(?P<loss>.)"'}, "is no regular expression"),
        a_group_for_no_constraint=({"constraints": '{"ms": 20}'}, "report= has no group for ms"),
        a_metric_that_is_no_group=({"metric": '"val loss"'}, "for val loss, which no group can be called"),
        an_expression_that_is_a_number=({"report": "3"}, "report: "),
        a_test_of_the_winner=({"test": '"tune:test"'}, "test is for a train= function"),
    ),
]  # fmt: skip

_BEFORE = "def train(trial):\n    {}\n    for epoch in trial.epochs():\n        trial.report(loss=1.0)"
_IN_LOOP = "def train(trial):\n    for epoch in trial.epochs():\n        {}"
_WITHOUT_LOOP = "def train(trial):\n    {}"
_OBJECTIVE = "def train(trial):\n    lr = trial.suggest_float('lr', 0, 1)\n    {}"
_STATEFUL = """class Odd:
    def state_dict(self):
        return {"rule": Odd}

    def load_state_dict(self, state):
        pass


"""


def _codes(way: str, shape: str, **cases: tuple[str, str]) -> list[Bad]:
    """Bad lines in a function of a shape."""
    return [Bad(name, way, (told,), code=shape.format(code)) for name, (code, told) in cases.items()]


def _scripts(fields: Mapping[str, str | None], **cases: tuple[str, str]) -> list[Bad]:
    """Bad programs of a study with these fields."""
    return [Bad(name, "command", (told,), fields, script=script) for name, (script, told) in cases.items()]


_JSON = "echo '{}' > $CAVIAR_REPORT"
FAILING: list[Bad] = [  # while a trial is trained: `plan` finds nothing, `check` does, and `run` fails the trial
    *_codes(
        "train",
        _BEFORE,
        a_hyperparameter_that_is_misspelt=("trial['rl']", "no hyperparameter 'rl'; the study has: lr"),
        a_hyperparameter_as_an_attribute=("trial.lr", "write trial['lr']"),
        suggestions_as_in_optuna=("trial.suggest_float('lr', 0, 1)", "objective="),
        an_error_before_the_loop=("raise ValueError('no data')", "ValueError: no data"),
        an_error_of_several_lines=("raise ValueError('no\\ndata')", "ValueError: no"),
        an_error_with_control_characters=("raise ValueError('a\\x1b[2Jb')", "ValueError: a"),
        an_error_that_cannot_be_shown=(
            "raise type('Odd', (Exception,), {'__str__': None})()", "Odd: its message cannot be read"
        ),
        an_exit=("import sys; sys.exit(3)", "it calls sys.exit(3), which would end Caviar"),
        a_hard_exit=("import os; os._exit(3)", "it calls os._exit(3), which would end Caviar"),
        a_report_before_the_loop=("trial.report(loss=1)", "was called outside of the loop over trial.epochs()"),
        a_dictionary_to_keep=("trial.keep(net={})", "trial.keep(net=...) got a dict; give an object with state_dict"),
        nothing_by_name_to_keep=("trial.keep(3)", "got an object without a name, 3; give each by name"),
        a_loop_too_many=("list(trial.epochs())", "reported nothing; call trial.report(...) in each epoch"),
    ),
    *_codes(
        "train",
        _IN_LOOP,
        nothing_that_is_reported=("pass", "epoch 1 reported nothing; call trial.report(...) in each epoch"),
        a_report_without_a_name=("trial.report(0.5)", "got a metric without a name, 0.5; give each by name"),
        a_text_as_a_metric=("trial.report(loss='low')", "the metric 'loss' is 'low', which is no number"),
        nothing_as_a_metric=("trial.report(loss=None)", "the metric 'loss' is None, which is no number"),
        a_list_as_a_metric=("trial.report(loss=[1.0])", "the metric 'loss' is [1.0], which is no number"),
        a_complex_metric=("trial.report(loss=1j)", "the metric 'loss' is 1j, which is no number"),
        several_numbers_as_a_metric=(
            "import torch; trial.report(loss=torch.ones(2))", "which is no number"
        ),
        a_metric_of_no_name=("trial.report(**{'': 1})", "a metric is called ''; give it a name"),
        too_many_metrics=("trial.report(**{f'm{i}': i for i in range(2000)})", "metrics; "),
        the_metric_by_another_name=("trial.report(los=1)", "never measured loss; did you mean los? it measured los"),
        another_metric=("trial.report(f1=1)", "never measured loss; it measured f1"),
        keeping_in_the_loop=("trial.keep(net=trial)", "was called in the loop over trial.epochs(); call it before"),
        an_error_in_an_epoch=("1 / 0", "ZeroDivisionError: division by zero"),
        a_shape_that_does_not_fit=(
            "import torch; torch.nn.Linear(3, 1)(torch.ones(2, 4))", "RuntimeError: mat1 and mat2 shapes cannot be"
        ),
    ),
    *_codes(
        "train",
        _WITHOUT_LOOP,
        no_loop=("pass", "the training ended before its first epoch; loop over trial.epochs() in it"),
        epochs_that_are_not_looped_over=("trial.epochs()", "the training ended before its first epoch"),
    ),
    Bad("a state that has to be unpickled", "train", ("which would have to be unpickled",),
        code=_STATEFUL + _BEFORE.format("trial.keep(odd=Odd())")),
    Bad("a constraint that is never measured", "train", ("never measured ms",), {"constraints": '{"ms": 20}'}),
    *_codes(
        "objective",
        _OBJECTIVE,
        nothing_that_is_returned=("pass", "the objective returned None; return the value of the trial"),
        a_text_that_is_returned=("return 'good'", "the objective returned 'good', which is no number"),
        two_values=("return 1.0, 2.0", "the objective returned 2 values; Caviar searches by one"),
        no_number=("return float('nan')", "the objective returned nan, which is no value"),
        a_dictionary_that_is_returned=("return {'loss': 1}", "the objective returned"),
        an_error=("raise ValueError('no data')", "ValueError: no data"),
        a_shape_that_does_not_fit=(
            "import torch; torch.nn.Linear(3, 1)(torch.ones(2, 4))", "RuntimeError: mat1 and mat2 shapes cannot be"
        ),
        an_exit=("import sys; sys.exit()", "it calls sys.exit()"),
        a_range_that_is_empty=("return trial.suggest_float('a', 1, 0)", "must hold, but got (low=1, high=0)"),
        a_choice_of_none=("return trial.suggest_categorical('a', [])", "ValueError: The `choices` must contain"),
        a_name_that_no_table_can_hold=("return trial.suggest_float('a\\0', 0, 1)", "has the control character"),
        a_report_of_a_text=("trial.report('low', 1)", "TypeError: The `value` argument"),
        a_step_that_is_a_text=("trial.report(1.0, 'one')", "TypeError: The `step` argument"),
        a_hyperparameter_as_in_caviar=("return trial['lr']", "TypeError: 'Trial' object is not subscriptable"),
        a_stop_of_the_study=("trial.study.stop()", "cannot stop its study; that is done by: caviar stop NAME"),
        a_trial_of_its_own=("trial.study.ask()", "an objective that Caviar runs cannot make other trials"),
        a_metric_that_is_misnamed=("return los", "NameError: name 'los' is not defined"),
    ),
    Bad("an attribute that is no JSON", "objective", ("TypeError: Object of type object is not JSON serializable",),
        code=_OBJECTIVE.format("trial.set_user_attr('a', object()); return 1.0"), seen_by_check=False),
    *_scripts(
        {},
        a_failure=("echo oops >&2; exit 3", "the command ended with exit code 3; its last line: oops"),
        a_failure_without_a_word=("exit 3", "the command ended with exit code 3; it printed nothing"),
        a_signal=("kill -11 $$", "was ended by signal 11 (SIGSEGV)"),
        no_metric=("echo all is well", "no line of its output matches the expression of report=; its last line: all"),
        no_output=("true", "ended without reporting loss"),
        a_metric_that_is_no_number=("echo loss low", "the metric 'loss' is 'low', which is no number; the line: loss"),
        a_metric_in_percent=("echo loss 12%", "the metric 'loss' is '12%', which is no number"),
        a_program_within_that_is_missing=("nowhere-at-all", "exit code 127; its last line: train.sh"),
        words_that_the_shell_cannot_read=("if", "exit code 2; its last line: train.sh"),
    ),
    *_scripts(
        {"report": None},
        no_json=(_JSON.format('{"loss": '), "a report is no line of JSON"),
        a_list_of_json=(_JSON.format("[1]"), "a report is no JSON object: [1]"),
        a_truth_value=(_JSON.format('{"loss": true}'), "a report has a metric that is no number"),
        a_later_epoch_first=(_JSON.format('{"epoch": 5, "loss": 1}'), "the first report is of epoch 5"),
        an_epoch_in_words=(_JSON.format('{"epoch": "one", "loss": 1}'), "the epoch of a report is no whole number"),
        an_epoch_below_nothing=(_JSON.format('{"epoch": -1, "loss": 1}'), "epoch -1 is out of the range of 0 to"),
        a_metric_twice=(_JSON.format('{"loss": 1, "loss": 2}'), "'loss' stands twice"),
        the_metric_by_another_name=(_JSON.format('{"los": 1}'), "did you mean los? it reported los"),
    ),
    Bad("a script that is missing", "command", ("exit code ",), {"command": '"sh nothing.sh {lr}"'}),
    Bad("an option that a program does not know", "command", ("exit code 2; its last line: ",),
        {"command": '"python -c \'import argparse; argparse.ArgumentParser().parse_args()\' --lr {lr}"'}),
    Bad("an expression that takes for ever", "command", ("takes more than 1 s for a line", "the line: aaaa"),
        {"report": 'r"(a+)+(?P<loss>b)"'}, script="echo " + "a" * 60),
    Bad("a group for the epoch that matches a word", "command", ("the group 'epoch' matched 'one', no whole number",),
        {"report": 'r"epoch (?P<epoch>\\S+) loss (?P<loss>\\S+)"'}, script="echo epoch one loss 1"),
]  # fmt: skip
