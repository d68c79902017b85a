"""A controller trained in a simulator that the real system's cost corrects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from quickstudy.cli.console import Tick
from quickstudy.registry import register


@register("reproduction", "balancing")
def balancing(folder: Path, tick: Tick, quick: bool = False, seeds: int = 3) -> list[str]:
    """A controller of a cart-pole, trained in a simulator that is changed until it does best on the real one.

    Args:
        folder: gets results.json, table.md and balancing.png.
        tick: told how many runs of how many are done.
        quick: one seed, a few steps.
        seeds: of the starts and of what outer optimisers draw.

    Returns:
        Lines that say what the controller costs, and which parameters the simulator ends with.
    """
    from quickstudy import outer
    from quickstudy.reports import plots
    from quickstudy.storage.checkpoint import write_atomically, write_json
    from quickstudy_studies.balancing import page as balancing_page
    from quickstudy_studies.balancing import run as regulator

    ways: dict[str, Callable[[], outer.Outer]] = {
        "gradient": lambda: outer.Gradient(0.05, clip=1.0, schedule="cosine"),
        "evolution strategies": lambda: outer.EvolutionStrategies(12, 0.05, lr=0.05, schedule="cosine"),
    }
    plan = [(way, seed) for way in ways for seed in range(1 if quick else seeds)]
    runs = []
    for done, (way, seed) in enumerate(plan):
        tick(done, len(plan))
        runs.append({"outer": way, "seed": seed, **regulator.trained(ways[way](), 2 if quick else 60, seed)})
    tick(len(plan), len(plan))
    write_json(folder / "results.json", {"case": regulator.CASE._asdict(), "runs": runs})
    write_atomically(folder / "table.md", (balancing_page.markdown(runs) + "\n").encode())
    write_atomically(folder / "balancing.png", plots.file(balancing_page.figure(runs), "png"))
    return balancing_page.summary(runs)
