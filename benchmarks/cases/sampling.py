"""Episodes alone: how fast they are drawn, from few and from many images."""

from benchmarks.case import Case, Context, Implementation, Setting
from benchmarks.peers.images import Images, generate


def problem(setting: Setting, context: Context) -> Images:
    return Images(*generate(setting["images"]), episodes=96, at_once=16)


CASE = Case(
    title="Sampling: 5-way 1-shot, 15 queries, 28x28 bytes to floats",
    unit="96 episodes",
    problem=problem,
    settings=tuple({"images": 10**power} for power in (3, 4, 5, 6)),
    quick=({"images": 1000}, {"images": 100_000}),
    implementations={
        "easyfsl": Implementation("peers.easyfsl_sampling"),
        "easyfsl, 2 worker processes": Implementation("peers.easyfsl_sampling", {"workers": 2}),
        "easyfsl, PIL images": Implementation(
            "peers.easyfsl_sampling",
            {"items": "PIL"},
            unless=lambda s: "so many image objects take minutes to make" if s["images"] > 100_000 else None,
        ),
        "easyfsl, image files": Implementation(
            "peers.easyfsl_sampling",
            {"items": "files"},
            unless=lambda s: "so many files take minutes to write" if s["images"] > 10_000 else None,
        ),
        "quickstudy": Implementation("ours_sampling", ours=True),
    },
    small=lambda setting: {"images": 1000},
)
