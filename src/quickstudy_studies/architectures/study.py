"""DARTS in a space of cells all of which are trained: where what it finds truly ranks."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

from quickstudy_studies.architectures import page, ranks, space
from quickstudy_studies.driver import Found, Part, Plan, Study


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """DARTS, of both orders, in a space of 125 cells that are all trained, beside random search and evolution.

    Args:
        folder: gets space.json and searches.json (training runs and searches as they end: what was interrupted goes
            on), results.json, table.md and architectures.png.
        quick: cells of one edge, so that there are 5, and a few steps.
        seeds: searches by DARTS, of each order.
    """
    training, how = space.Training(), space.Search()
    if quick:
        training, how, seeds = space.Training(nodes=2, steps=2, beginnings=2), space.Search(steps=2), 1
    runs = {space.name(each): partial(space.train, each, training) for each in space.architectures(training)}
    searches = {
        f"{order} {seed}": partial(space.search, order, seed, training, how)
        for order in space.ORDERS
        for seed in range(1, seeds + 1)
    }
    key = {"training": asdict(training)}

    def results(found: Found) -> object:
        trained, searched = ({name: found[name] for name in part} for part in (runs, searches))
        return ranks.judged(trained, searched, training, how)

    parts = (
        Part(runs, key, "space.json", here=quick),
        Part(searches, {**key, "search": asdict(how)}, "searches.json", here=quick),
    )
    return Plan(parts, results)


architectures = Study("architectures", plan, page.markdown, page.summary, {"architectures": page.figure}, seeds=10)
