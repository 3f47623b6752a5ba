"""Strategies for Hypothesis: study files and models that cannot be meant."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.helpers.bad_input import SETTINGS, Call, bad_text

_FIELDS = {
    "name": '"mine"', "model": '"mlp"', "data": '"digits"', "epochs": "2", "budget": "8", "seed": "0",
    "metric": '"accuracy"', "direction": '"maximize"', "strategy": '"tiered"', "pruner": '"pace"', "fixed": "{}",
    "metrics": "{}", "loss": "",
    "tiers": '({"learning_rate": Log(1e-4, 1, default=0.1)},)',
}  # fmt: skip
_NUMBERS = (
    "0", "-1", "1", "2", "1e-4", "0.1", "10**30", "10**5000", "1.5", "float('nan')", "float('inf')", "'2'", "None",
    "[]", "object()", "1e308", "-1e308", "5e-324", "2**53", "2**64", "True", "-0.0",
)  # fmt: skip
BEFORE = (  # lines before the study
    "import sys; sys.exit()",
    "import sys; sys.exit(10**5000)",
    "raise SystemExit('a\\nb')",
    "import os; os._exit(0)",
    "raise BaseException('a\\nb')",
    "raise GeneratorExit",
    "def f(): f()\nf()",
    "1 / 0",
    "assert False, 10**5000",
    "import no_such_module",
    "import a.b.c\0",
    "from caviar import Nothing",
    "import caviar; caviar.run('digits')",
    "print('words'); 1 / 0",
    "\0",
    "\udcff",
    "(" * 300,
    "x = '",
    "STUDY =",
    "return",
    "raise Exception",
    "raise Exception('x' * 10**6)",
    "raise Exception('\\udce9\\0\\x1b[2J')",
    "raise ExceptionGroup('a', [ValueError()])",
    "raise KeyError('\\n')",
    "raise SyntaxError",
    "raise SyntaxError('a\\nb', ('f', None, 1, 'text'))",
    "raise UnicodeDecodeError('utf8', b'', 0, 1, 'x')",
    "raise type('\\n', (Exception,), {})",
    "raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})()",
    "raise type('E', (Exception,), {'__str__': lambda self: exit()})()",
)
AFTER = (  # lines after it
    "del STUDY",
    "STUDY = None",
    "STUDY = 3",
    "STUDY = Study",
    "STUDY = STUDY.name",
    "STUDY = type('\\n', (), {})()",
    "def __getattr__(name): 1 / 0\ndel STUDY",
    "def __getattr__(name): exit()\ndel STUDY",
)
MODELS = (  # lines in the body of a model's class
    "1 / 0",
    "sys.exit(0)",
    "raise BaseException",
    "parameters = None",
    "def parameters(self): sys.exit()",
    "def parameters(self): return 3",
    "def parameters(self): yield 3",
    "__signature__ = 3",
    "__new__ = None",
    "def __new__(cls, *_, **__): return 3",
    "__init__ = None",
    "__init__ = 3",
    "def __init__(self): super().__init__()",
    "def __init__(self, *_): pass",
    "def __init__(self, *_): sys.exit()",
    "def __init__(self, *_): __import__('os')._exit(0)",
    "def __init__(self, *_): raise BaseException",
    "def __init__(self, *_): raise Exception('a\\nb\\udce9')",
    "def __init__(self, *_): raise type('E', (Exception,), {'__str__': lambda self: sys.exit()})()",
    "def __init__(self, *_, learning_rate): super().__init__()",
    "def __init__(self, *_, learning_rate=1): super().__init__()",
    "def __init__(self, *_, **__): self.__init__()",
)
DATA = (  # lines in the body of a function that returns data
    "1 / 0",
    "sys.exit(0)",
    "raise BaseException",
    "raise Exception('a\\nb\\udce9')",
    "raise type('E', (Exception,), {'__str__': lambda self: sys.exit()})()",
    "return",
    "return 3",
    "return 'ab'",
    "return (), ()",
    "return (3, 4), (5, 6)",
    "return ([], []), ([], [])",
    "return ([1.0], [0, 1]), ([1.0], [0])",
    "return ([[1.0], [2.0, 3.0]], [0, 1]), ([1.0], [0])",
    "return ([10**400], [0]), ([1.0], [0])",
    "return ([float('nan')], [0.5]), ([1.0], [0.5])",
    "return ([1.0], [10**30]), ([1.0], [0])",
    "return ([1.0, 2.0], [0, 10**12]), ([1.0], [0])",
    "return (type('X', (), {'__array__': lambda self: exit()})(), [0]), ([1.0], [0])",
    "yield 3",
)
_expression = st.sampled_from(_NUMBERS) | bad_text.map(ascii)
_scale = st.tuples(
    st.sampled_from(["Log", "LogOneMinus", "Linear", "PowersOfTwo", "Grid", "Choice", "Nothing", "str"]),
    st.lists(st.sampled_from(_NUMBERS), max_size=4),
    st.sampled_from(_NUMBERS),
).map(lambda given: f"{given[0]}({', '.join([*given[1], f'default={given[2]}'])})")
_name = st.sampled_from(SETTINGS).map(ascii) | bad_text.map(ascii)
_tiers = st.one_of(
    _expression,
    st.tuples(_name, _scale).map(lambda given: f"({{{given[0]}: {given[1]}}},)"),
    _scale.map(lambda scale: f"({{'learning_rate': {scale}}}, {{'hidden_units': {scale}}})"),
)
_fixed = _expression | st.tuples(_name, _expression).map(lambda given: f"{{{given[0]}: {given[1]}}}")


def _source(fields: Mapping[str, str], before: str = "", after: str = "") -> bytes:
    """Return a study's file; a field that is empty is left out."""
    given = ", ".join(f"{name}={value}" for name, value in {**_FIELDS, **fields}.items() if value)
    return f"from caviar import *\n{before}\nSTUDY = Study({given})\n{after}\n".encode("utf-8", "surrogateescape")


def _planned(fields: Mapping[str, str]) -> Call:
    return Call(["plan", "{folder}/study.py"], files={"study.py": _source(fields)}, codes=frozenset({0, 2}))


def _both(files: Mapping[str, bytes]) -> SearchStrategy[Call]:
    return st.sampled_from(["run", "plan"]).map(lambda command: Call([command, "{folder}/study.py"], files=files))


def _with_model(body: str) -> Mapping[str, bytes]:
    model = f"import sys\nfrom torch import nn\n\n\nclass Net(nn.Module):\n    {body}\n"
    return {"study.py": _source({"model": '"model_under_test:Net"'}), "model_under_test.py": model.encode()}


def _with_data(body: str) -> Mapping[str, bytes]:
    data = f"import sys\n\n\ndef load():\n    {body}\n"
    return {"study.py": _source({"data": '"data_under_test:load"'}), "data_under_test.py": data.encode()}


calls_with_files: SearchStrategy[Call] = st.one_of(
    st.tuples(st.sampled_from(sorted(_FIELDS)), _expression | st.just("")).map(lambda given: _planned(dict([given]))),
    _tiers.map(lambda tiers: _planned({"tiers": tiers})),
    _fixed.map(lambda fixed: _planned({"fixed": fixed})),
    st.sampled_from(BEFORE).flatmap(lambda lines: _both({"study.py": _source({}, before=lines)})),
    st.sampled_from(AFTER).flatmap(lambda lines: _both({"study.py": _source({}, after=lines)})),
    st.binary(max_size=20).flatmap(lambda data: _both({"study.py": b"\xff" + data})),
    st.sampled_from(MODELS).flatmap(lambda body: _both(_with_model(body))),
    st.sampled_from(DATA).flatmap(lambda body: _both(_with_data(body))),
)
