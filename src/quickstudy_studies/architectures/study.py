"""DARTS in a space of cells all of which are trained: where what it finds truly ranks."""

from __future__ import annotations

from pathlib import Path

from quickstudy.cli.console import Tick
from quickstudy.registry import register


@register("reproduction")
def architectures(folder: Path, tick: Tick, quick: bool = False, seeds: int = 10) -> list[str]:
    """DARTS, first and second order, on a space of 125 cells that are all trained, beside random search and evolution.

    Args:
        folder: gets space.json and searches.json (training runs and searches as they end: what was interrupted goes
            on), results.json, table.md and architectures.png.
        tick: told how many runs of how many are done.
        quick: cells of one edge, so that there are 5, and a few steps.
        seeds: searches by DARTS, of each order.

    Returns:
        Lines that say what came out.
    """
    from dataclasses import asdict
    from functools import partial

    from quickstudy.reports import plots
    from quickstudy.storage.checkpoint import write_atomically, write_json
    from quickstudy_studies.architectures import page as cell_page
    from quickstudy_studies.architectures import ranks as cell_ranks
    from quickstudy_studies.architectures import space as cell_space
    from quickstudy_studies.shared.cores import kept

    training, how = cell_space.Training(), cell_space.Search()
    if quick:
        training, how, seeds = cell_space.Training(nodes=2, steps=2, beginnings=2), cell_space.Search(steps=2), 1
    all_of_them = cell_space.architectures(training)
    runs = {cell_space.name(each): partial(cell_space.train, each, training) for each in all_of_them}
    searches = {
        f"{order} {seed}": partial(cell_space.search, order, seed, training, how)
        for order in cell_space.ORDERS
        for seed in range(1, seeds + 1)
    }
    total = len(runs) + len(searches)
    key = {"training": asdict(training)}
    space = kept(folder / "space.json", key, runs, lambda done: tick(done, total), quick)
    key["search"] = asdict(how)
    found = kept(folder / "searches.json", key, searches, lambda done: tick(len(space) + done, total), quick)
    content = cell_ranks.judged(space, found, training, how)
    write_json(folder / "results.json", content)
    write_atomically(folder / "table.md", (cell_page.markdown(content) + "\n").encode())
    write_atomically(folder / "architectures.png", plots.file(cell_page.figure(content), "png"))
    return cell_page.summary(content)
