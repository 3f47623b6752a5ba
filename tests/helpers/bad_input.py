"""Strategies for Hypothesis: calls of the command that cannot be meant, with one bad piece each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from caviar.limits import COHORT, EPOCHS, SECONDS, SEED, TEXT, TRIALS, WORKERS

STUDY, PANDA = "small", "baby"  # in the database that the calls are made on: a study that is done, a panda of two days


@dataclass(frozen=True)
class Call:
    """A call of the command: its words, and the variables and files that it finds.

    `files` are made for the call; a word or a variable names their folder as {folder}. `codes` are the exit codes that
    are right: of some calls that are made by chance, a few can be meant after all, so they change nothing anyway.
    """

    words: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    codes: frozenset[int] = frozenset({2})


# Bytes that are not UTF-8, as Python reads them, control characters, and what means something to a shell, to SQL, to
# rich, to a format, to a path, to an address or to an option.
PIECES = (
    "\udce9", "\udcff", "\0", "\n", "\r", "\t", "\x1b[2J", "\x7f", "\x85", "\u2028", "\u202e", "'", '"', ",", ";",
    "$(touch made)", "`touch made`", "$HOME", "%00", "%s", "%", "{0}", "{", "[/bold]", "[red]", "\\", "..", "/", "~",
    "é", "𝔘", "-", "=", ":", "@", "?", "#", "*", " ", "nan", "inf", "1e999", "NULL", "None", "x" * 300,
)  # fmt: skip
NO_NUMBERS = (
    "nan", "inf", "-inf", "1e999", "", " ", "x", "0x10", "1/2", "10**30", "9" * 5000, "\udce9", "\0", "1,5", "None",
)  # fmt: skip
bad_text = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), min_size=1, max_size=5).map("".join)
bad_word = bad_text.filter(lambda text: not text.startswith("-"))  # else it is an option, such as -h


def number_beyond(least: float | None, most: float | None) -> SearchStrategy[str]:
    """Texts that are no number, and numbers below `least` or above `most`."""
    below = [st.integers(max_value=int(least) - 1).map(str)] if least is not None else []
    above = [st.integers(min_value=int(most) + 1).map(str)] if most is not None else []
    return st.one_of([st.sampled_from(NO_NUMBERS), *below, *above])


def words(command: str, *more: SearchStrategy[str]) -> SearchStrategy[Call]:
    """Calls of a command, with words that vary in place of each %."""
    parts, varied = command.split(), iter(more)
    return st.tuples(*(next(varied) if part == "%" else st.just(part) for part in parts)).map(Call)


def option(command: str, name: str, value: SearchStrategy[str]) -> SearchStrategy[Call]:
    """Calls of a command with one bad option."""
    return words(f"{command} %", value.map(lambda text: f"{name}={text}"))


_TAKEN = {STUDY, PANDA, "digits", "mnist", "fashion_mnist", "cifar10"}
unknown_name = st.one_of(
    bad_word, st.text(min_size=101, max_size=300), st.sampled_from(["", "no-such-study", "9" * 5000, "a.b:C", "x.py"])
).filter(lambda name: name not in _TAKEN and not name.startswith("-"))
impossible_name = bad_text.filter(lambda name: not name.isascii() or not name.isalnum() or len(name) > 100).filter(
    lambda name: not set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
)

NAMED = (
    "status %", "best %", "trials %", "importance %", "curves %", "report %", "workers %", "history %", "pause %",
    f"compare % {STUDY}", "resume %", "stop %", "join %", "dashboard %", "delete % --yes", "kill % 0",
    "extend % --budget=20", "retune % --name=new", "export % --to=x.csv", "panda train %", "panda log %",
    "panda back %", "panda nudge % learning_rate=0.1", "panda try % learning_rate=0.1", "panda note % text",
    "run %", "plan %", "panda start new --study %", "panda start new --from %", "data fetch %", "db grant %",
)  # fmt: skip
_TRAINING = ("run digits", f"join {STUDY}", "panda start new --study=digits", f"panda train {PANDA}")
_TIMES = (("--lease", 0.5), ("--renew", 0.1), ("--grace", 0.0), ("--patience", 0.0))
NUMBERS: tuple[tuple[str, str, float | None, float | None], ...] = (
    ("run digits", "--workers", 1, WORKERS),
    ("run digits", "--budget", 3, TRIALS),
    ("run digits", "--seed", 0, SEED),
    ("run digits", "--cohort", 1, COHORT),
    ("plan digits", "--budget", 3, TRIALS),
    (f"join {STUDY}", "--workers", 0, WORKERS),
    (f"join {STUDY}", "--workers-per-gpu", 1, WORKERS),
    (f"join {STUDY}", "--cohort", 1, COHORT),
    (f"extend {STUDY}", "--budget", 9, TRIALS),
    (f"curves {STUDY}", "--top", 1, None),
    (f"best {STUDY}", "--confirm", 2, 1000),
    ("dashboard", "--port", 0, 65535),
    (f"panda train {PANDA}", "--days", 1, TRIALS),
    (f"panda try {PANDA} momentum=0.5", "--epochs", 1, EPOCHS),
    (f"panda back {PANDA}", "--to", 0, 9),
    (f"retune {STUDY} --name=new", "--epochs", 1, EPOCHS),
    (f"retune {STUDY} --name=new", "--budget", 4, TRIALS),
    (f"retune {STUDY} --name=new", "--seed", 0, SEED),
    *((command, name, least, SECONDS) for command in _TRAINING for name, least in _TIMES),
)
TEXTS = (
    ("run digits", "--strategy"),
    ("run digits", "--epoch-timeout"),
    (f"join {STUDY}", "--epoch-timeout"),
    ("plan digits", "--strategy"),
    (f"join {STUDY}", "--gpus"),
    ("panda start new --study=digits", "--day"),
    ("panda start new --study=digits", "--keep"),
    ("panda start new --study=digits", "--set"),
    (f"retune {STUDY} --name=new", "--data"),
    (f"retune {STUDY} --name=new", "--widen"),
    (f"panda train {PANDA}", "--study"),
    (f"panda nudge {PANDA} momentum=0.5", "--study"),
)
SETTINGS = (
    "learning_rate", "momentum", "batch_size", "decay", "dropout", "weight_decay", "hidden_units", "optimizer", "beta1",
)  # fmt: skip
bad_setting = bad_word | st.tuples(
    st.sampled_from(SETTINGS), st.sampled_from([*NO_NUMBERS, "-1", "10" * 3000, "1e200", "True", "0.5.1"])
).map("=".join)
bad_remark = st.just("x" * (TEXT + 1)) | st.tuples(bad_word, st.sampled_from(["\udce9", "\0", "\x1b"])).map("".join)
bad_file = st.sampled_from(
    ["", "/", ".", "..", "/dev/null/x.csv", "nowhere/x.csv", "x" * 300 + ".csv", "a/\0.csv", "\udce9.csv", "x.nothing",
     "mlflow:", "tensorboard:", "nothing:x", "{folder}"]
)  # fmt: skip
bad_folder = st.sampled_from(["", "/", ".", "..", "/dev/null/x", "x" * 300, "a/\0", "\udce9", "{folder}", "~/../.."])
bad_address = st.one_of(
    bad_text.filter(bool),
    bad_text.map(lambda text: f"postgresql://{text}@127.0.0.1:9/{text}"),
    bad_text.map(lambda text: f"postgresql://127.0.0.1:9/x?{text}"),
    bad_text.map(lambda text: f"postgresql://127.0.0.1:{text}/x"),
    st.sampled_from(
        ["postgresql://", "sqlite://", "mysql://h/d", "postgresql://127.0.0.1:99999/x", "http://127.0.0.1:9",
         "postgresql://127.0.0.1:9/x?sslmode=x", "postgresql:///x?host=/nowhere", "postgresql:///x?host=/a,/b",
         "postgresql://127.0.0.1:9/%00"]
    ),
)  # fmt: skip
VARIABLES = {
    "CAVIAR_DATABASE_URL": bad_address.filter(lambda address: "\0" not in address),
    "CAVIAR_DATABASE_URL_FILE": st.sampled_from(["{folder}", "~nouser/x", "\udce9", "x" * 5000, "nowhere", "a\nb"]),
    "CAVIAR_HOME": st.sampled_from(["~nouser", "a\nb", "\udce9", "\x1b", "/dev/null/below"]),
    "CAVIAR_CHECKPOINTS": st.sampled_from(["file:///\udce9", "s3://a\nb", "file:///\x1b"]),
}


_OF_AN_ADDRESS = frozenset({2, 75})  # 75 where it can be read, and nobody answers


def with_variable(name: str) -> SearchStrategy[Call]:
    """Calls with a bad variable; without the address of a database the others matter too."""
    codes = _OF_AN_ADDRESS if name == "CAVIAR_DATABASE_URL" else frozenset({2})
    return VARIABLES[name].map(lambda value: Call(["ls"], {"CAVIAR_DATABASE_URL": "", name: value}, codes=codes))


calls_of_commands: SearchStrategy[Call] = st.one_of(
    st.sampled_from(NAMED).flatmap(lambda command: words(command, unknown_name)),
    st.sampled_from(NUMBERS).flatmap(lambda given: option(*given[:2], number_beyond(*given[2:]))),
    words(f"kill {STUDY} %", number_beyond(0, 8)),
    st.sampled_from(TEXTS).flatmap(lambda given: option(*given, bad_text)),
    st.sampled_from(["run digits", f"retune {STUDY}"]).flatmap(lambda c: option(c, "--name", impossible_name)),
    words("panda start % --study=digits", impossible_name.filter(lambda name: not name.startswith("-"))),
    words(f"panda nudge {PANDA} %", bad_setting),
    words(f"panda try {PANDA} %", bad_setting),
    option("panda start new --study=digits", "--set", bad_setting),
    words(f"panda note {PANDA} %", bad_remark),
    option(f"panda nudge {PANDA} momentum=0.5", "--why", bad_remark),
    option(f"export {STUDY}", "--to", bad_file),
    option(f"best {STUDY}", "--save", bad_folder),
    words("%", bad_word),
    words(f"status {STUDY} %", bad_text.filter(lambda text: text not in ("--", "-h"))),  # nothing is wrong with these
    bad_address.map(lambda address: Call(["ls", f"--database-url={address}"], codes=_OF_AN_ADDRESS)),
    st.sampled_from(sorted(VARIABLES)).flatmap(with_variable),
)
