"""The limits of what can be given, in one place. A message that refuses something names its limit.

Each is far above what makes sense, and below what a mistake needs to fill a disk, a memory or a table. The page
docs/reference/settings.md lists them.
"""

NAME = 100  # characters of the name of a study, panda or hyperparameter; Optuna's columns hold 512, prefixes included
STUDY_NAME = rf"^[A-Za-z0-9][A-Za-z0-9_.-]{{0,{NAME - 1}}}$"  # it becomes part of commands and file names as it is
TEXT = 2_000  # characters of a remark, a reason, or a value that is a name: they are read in a terminal
MESSAGE = 2_000  # characters of an error that are shown: it may quote what was given

TRIALS = 100_000  # of a study: each is a row from the beginning on, and each proposal reads the finished ones
EPOCHS = 1_000_000  # of a trial, a panda's day or its candidates: each epoch is a row
METRICS = 1_000  # of an epoch: they are one document of its row
HYPERPARAMETERS = 100  # that are searched: the check before a run builds the model for both ends of each
VALUES = 1_000  # in the list of a hyperparameter: the check builds the model for each
POINTS = 1_000_000  # of a grid: they are laid out in memory, and shuffled
WHOLE = 2**53  # the largest integer of a hyperparameter: Optuna's tables hold double precision
NUMBER = 1e100  # the largest number of a hyperparameter, and 1 / NUMBER the smallest but 0: ranges do not overflow
SEED = 2**63 - 1  # the largest seed that NumPy and PostgreSQL hold as a number

LAYERS = 1_000  # of Caviar's own networks: each is a Python object, which is made before anything can be measured
UNITS = 1_000_000  # in a layer of Caviar's own networks
PARAMETERS = 10**10  # of a model: 40 GB of weights alone, of which a training needs three to four times as much

WORKERS = 256  # processes that one command starts
LAUNCHED = 10_000  # workers of one launch on a scheduler
RANKS = 64  # processes of one trial, each with a GPU
COHORT = 1_024  # trials that a worker trains as one program; larger ones are no faster
SECONDS = 86_400.0  # of a lease, a renewal, a grace or a patience: a day
DURATION = 31_536_000.0  # seconds of an epoch, a trial or a run: a year
CHECKPOINT = 64 * 2**20  # bytes of one state in the database; a larger one needs CAVIAR_CHECKPOINTS
FOLDER = 4 * 2**30  # bytes of all files in the folder of a command's trial: they are in memory while they are saved
FILES = 10_000  # in that folder
