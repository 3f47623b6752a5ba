"""What is searched: `caviar run tune.py`."""

from caviar import Log, LogOneMinus, Study

STUDY = Study(
    name="command", command="awk -v lr={lr} -v momentum={momentum} -v epochs={epochs} -f models/descent.awk",
    report=r"epoch (?P<epoch>\d+): loss (?P<loss>\S+)", metric="loss", epochs=10, budget=8,
    tiers=({"lr": Log(1e-5, 1e-2, default=1e-4)}, {"momentum": LogOneMinus(0.5, 0.99, default=0.9)}),
)  # fmt: skip
