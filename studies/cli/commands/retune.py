"""`caviar retune`: a new study that begins with what an earlier one knew."""

from __future__ import annotations

from typing import Annotated

import typer

from caviar.studies.cli.commands.data import data_folder
from caviar.studies.cli.options import DataDir, StoredStudy
from caviar.studies.cli.output import DatabaseUrl, database, tell
from caviar.studies.cli.work import check_and_fetch
from caviar.studies.results.formatting import number


def retune(
    study: StoredStudy,
    name: Annotated[str, typer.Option(metavar="NAME", help="Of the new study.")],
    data: Annotated[str | None, typer.Option(metavar="NAME", help="Another data set.")] = None,
    widen: Annotated[
        list[str] | None, typer.Option(metavar="HYPERPARAMETER", help="Give it a wider range; may be given repeatedly.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Of each trial, instead of as many as before.")
    ] = None,
    budget: Annotated[int | None, typer.Option(metavar="N", help="Trials, instead of as many as before.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Instead of the next one.")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Begin a new study with what an earlier one knew: its winner is tried second, its trials are a prior.

    With a budget of 16 or more the model learns from the earlier trials too, as far as the new ones agree with them.

    Examples: caviar retune digits --name digits-wider --widen learning_rate, caviar retune mnist --name fashion
    --data fashion_mnist, caviar retune digits --name digits-longer --epochs 60
    """
    from caviar.storage.definitions import find_study, load_study
    from caviar.studies.errors import DefinitionError
    from caviar.studies.lifecycle.manager import definition_of, open_study, refuse_panda
    from caviar.studies.lifecycle.provenance import provenance_of
    from caviar.studies.lifecycle.retune import retuned
    from caviar.studies.results.winner import standings
    from caviar.studies.search.plan import SMALL_BUDGET

    with database(database_url) as engine:
        record = load_study(engine, study)
        refuse_panda(engine, record)
        if find_study(engine, name) is not None:
            raise DefinitionError(f"there is a study '{name}' already; give another --name, or: caviar delete {name}")
        before, folder = definition_of(record), data_folder(data_dir)
        found = standings(engine, record)
        after = retuned(
            before, found.trials, tested=None if found.winner is None else found.winner.trial,
            widen=widen or (), name=name, data=data, epochs=epochs, budget=budget,
            seed=before.seed + 1 if seed is None else seed,
        )  # fmt: skip
        check_and_fetch(after, folder, "checking the study")
        open_study(engine, after, provenance_of(after, folder))
    learns = f", and learns from {len(after.prior)} of its trials" if after.budget > SMALL_BUDGET else ""
    tell(f"[bold]{name}[/] tries the winner of '{study}' second{learns}")
    width = max(map(len, after.scales()))
    for hyperparameter, scale in after.scales().items():
        wider = "  (wider)" if hyperparameter in (widen or ()) else ""
        tell(
            f"  {hyperparameter:<{width}}  {number(after.prior[0].values[hyperparameter])} won before; {scale}{wider}",
            markup=False,
        )
    tell(f"\nrun it with: caviar run {name}", style="dim")
