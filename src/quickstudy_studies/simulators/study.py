"""Hidden parameters of real systems, found by judging what was trained in a simulator by them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from quickstudy.cli.console import Tick
from quickstudy.registry import register


@register("reproduction", "simulators")
def simulators(folder: Path, tick: Tick, quick: bool = False, seeds: int = 3) -> list[str]:
    """Hidden parameters of a pendulum and a cart-pole, by gradient, evolution strategies and CMA-ES.

    A ridge regression on cubic features is trained on the simulator's transitions alone; the outer loop changes the
    simulator so that it predicts the real system's trajectories.

    Args:
        folder: gets results.json, table.md and parameters.png.
        tick: told how many runs of how many are done.
        quick: a few steps.
        seeds: of the tasks and of what outer optimisers draw.

    Returns:
        Lines that say how far from the hidden ones the found parameters are.
    """
    from quickstudy import outer
    from quickstudy.reports import plots
    from quickstudy.storage.checkpoint import write_atomically, write_json
    from quickstudy_studies.simulators import page as hidden_parameters_page
    from quickstudy_studies.simulators import run as hidden_parameters

    ways: dict[str, tuple[Callable[[], outer.Outer], int]] = {
        "gradient": (lambda: outer.Gradient(0.1, schedule="cosine"), 150),
        "evolution strategies": (lambda: outer.EvolutionStrategies(12, 0.05, lr=0.1, schedule="cosine"), 150),
        "CMA-ES": (lambda: outer.CMAES(0.3), 60),
    }
    cases = hidden_parameters.CASES
    plan = [(case, way, seed) for case in cases for way in ways for seed in range(1 if quick else seeds)]
    runs = []
    for done, (case, way, seed) in enumerate(plan):
        tick(done, len(plan))
        build, steps = ways[way]
        path = hidden_parameters.followed(cases[case], build(), 3 if quick else steps, seed)
        runs.append({"case": case, "outer": way, "seed": seed, "path": path})
    tick(len(plan), len(plan))
    described = {name: case._asdict() for name, case in cases.items()}
    write_json(folder / "results.json", {"cases": described, "runs": runs})
    write_atomically(folder / "table.md", (hidden_parameters_page.markdown(runs) + "\n").encode())
    write_atomically(folder / "parameters.png", plots.file(hidden_parameters_page.figure(runs), "png"))
    return hidden_parameters_page.summary(runs)
