"""Write benchmarks/search/README.md, all tables of the benchmarks of the search, from their runs in benchmarks/runs.

python benchmarks/search/write_up.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from caviar.studies.search.least_trials import FEW

HERE = Path(__file__).parent
RUNS = HERE.parent / "runs"
TEXT = (HERE / "write_up.md").read_text()
_WITH_OTHERS = 9  # columns of a run of noise.py that says how often another than the best value won


def _read(name: str) -> dict[str, Any]:
    return json.loads((RUNS / f"{name}.json").read_text())  # type: ignore[no-any-return]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _searches(name: str) -> str:
    """The means over the tables, and then each table's."""
    found = _read(name)
    head = [f"{budget} trials" for budget in found["budgets"]]
    best = [min(row["regret"][i] for row in found["rows"]) for i in range(len(head))]
    rows = []
    for row in found["rows"]:
        told = [f"{m:.3f} ± {w:.3f}" for m, w in zip(row["regret"], row["interval"], strict=True)]
        told = [f"**{t}**" if m == b else t for t, m, b in zip(told, row["regret"], best, strict=True)]
        rows.append([row["method"], *told, f"{row['rank']:.1f} ± {row['rank_interval']:.1f}",
                     f"{row['proposal_ms']:.1f}"])  # fmt: skip
    whole = _table(["method", *head, "average rank", "ms of a proposal"], rows)
    parts = [f"{whole}\n\nThe same, table by table:"]
    for table in found["rows"][0]["tables"]:
        each = [
            [row["method"], *(f"{mean:.3f} ± {width:.3f}" for mean, width in row["tables"][table])]
            for row in found["rows"]
        ]
        parts.append(_table([table, *head], each))
    return "\n\n".join(parts)


def ahead(found: dict[str, Any], of: str = "tiered") -> str:
    """Which methods have a lower regret than one, in the mean and on each table: as the tables print it."""
    budgets, tables = found["budgets"], list(found["rows"][0]["tables"])
    means = {
        (row["method"], name): [mean for mean, _ in row["tables"][name]] for row in found["rows"] for name in tables
    }
    means |= {(row["method"], "mean of all"): row["regret"] for row in found["rows"]}
    peers = [row["method"] for row in found["rows"] if row["method"] != of]
    rows = []
    for name in ("mean of all", *tables):
        cells = []
        for i in range(len(budgets)):
            printed = {method: round(means[method, name][i], 3) for method in (of, *peers)}
            better = sorted((m for m in peers if printed[m] < printed[of]), key=lambda m: printed[m])
            cells.append(
                "nobody" if not better else f"all {len(peers)}" if len(better) == len(peers) else ", ".join(better)
            )
        rows.append([name, *cells])
    return _table(["data set", *(f"{budget} trials" for budget in budgets)], rows)


def luck(found: dict[str, Any]) -> str:
    """What is said of a winner, and what is true; older runs do not say how often another than the best value won."""
    rows = []
    for row in found["rows"]:
        mean = row["mean"]
        told = [f"{m:.3f} ± {w:.3f}" for m, w in zip(mean, row["interval"], strict=True)]
        rows.append([str(row["trials"]), *told[:4], f"{mean[4]:.0%}", f"{mean[5]:.3f}"])
        if len(mean) == _WITH_OTHERS:
            won = mean[6]
            rows[-1] += [f"{won:.0%}", f"{mean[7] / won:.0%}", f"{mean[8] / won:.3f}"] if won else ["0%", "", ""]
    head = ["trials", "regret of the best value", "regret of the winner", "the best value flatters by",
            "what is expected, by", "its interval holds in", "and is ±",
            "another won", "and is better", "by"]  # fmt: skip
    return _table(head[: len(rows[0])], rows)


def _retune() -> str:
    found = _read("retune")
    rows = [
        [row["kind"], *(f"{m:.3f} ± {w:.3f}" for m, w in zip(row["regret"], row["interval"], strict=True))]
        for row in found["rows"]
    ]
    return _table(["20 trials", *(f"after {check}" for check in found["checks"])], rows)


def _pruning() -> str:
    found = _read("pruning")
    head = ["sampler", "pruner", "side by side", *(f"after {epochs} epochs" for epochs in found["epochs"])]
    rows = [
        [row["method"], row["pruner"], str(row["beside"]),
         *(f"{m:.4f} ± {w:.4f}" for m, w in zip(row["regret"], row["interval"], strict=True))]
        for row in found["rows"]
    ]  # fmt: skip
    return _table(head, rows)


def _winners() -> str:
    found = _read("pruning")["winners"]
    pruners = list(dict.fromkeys(row["pruner"] for row in found if row["pruner"] != "none"))
    each = {(row["curves"], row["beside"], row["pruner"]): row for row in found}
    rows = []
    for curves, beside in dict.fromkeys((row["curves"], row["beside"]) for row in found):
        of = [each[curves, beside, pruner] for pruner in pruners]
        rows.append([curves, str(beside), *(f"{row['stopped']:.0%}, {row['share']:.0%}" for row in of)])
    return _table(["curves", "side by side", *pruners], rows)


def _importance() -> str:
    found = _read("importance")
    rows = [[row["method"], f"{row['first']:.0%}", f"{row['correlation']:.2f}"] for row in found["rows"]]
    each = [
        [table, ", ".join(f"{name} {share:.0%} ({found['said'][table][name]:.0%})" for name, share in shares.items())]
        for table, shares in found["truth"].items()
    ]
    return (
        _table(["method", "the most important one is found in", "rank correlation with the truth"], rows)
        + f"\n\nThe 90 % interval of `caviar importance` holds the truth in {found['covered']:.0%}. An order of two "
        f"tiers is told in {found['told']} of {2 * found['n']} cases, of which {found['right']:.0%} are right.\n\n"
        + _table(["data set", "true shares, and in brackets the mean of what is said after 50 trials"], each)
    )


def main() -> None:
    parts = {
        "search": _searches("search"), "search-8": _searches("search-8"), "search-unseen": _searches("search-unseen"),
        "ahead": ahead(_read("search")), "ahead-unseen": ahead(_read("search-unseen")), "few": str(FEW),
        "noise": luck(_read("noise")), "noise-unseen": luck(_read("noise-unseen")), "retune": _retune(),
        "pruning": _pruning(), "winners": _winners(),
        "importance": _importance(),
    }  # fmt: skip
    text = TEXT
    for name, part in parts.items():
        text = text.replace(f"<{name}>", part)
    (HERE / "README.md").write_text(text)


if __name__ == "__main__":
    main()
