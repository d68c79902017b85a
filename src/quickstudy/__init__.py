"""Quickstudy: meta-learning in PyTorch. Every method is two functions, written for one task."""

import lazy_loader

__version__ = "0.1.0"

# Parts are imported when they are first used, so that the command's help need not wait for PyTorch. Not from the stub
# beside this file, as other packages: reading it would take longer than all else here.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "batching",
        "cli",
        "core",
        "datasets",
        "engine",
        "errors",
        "evaluation",
        "functional",
        "inner",
        "learners",
        "nets",
        "objectives",
        "operators",
        "optim",
        "outer",
        "plugins",
        "problem",
        "recipes",
        "registry",
        "reports",
        "rules",
        "shipped",
        "sklearn",
        "storage",
        "tasks",
        "testing",
        "training",
    ],
    submod_attrs={
        "core": ["Examples", "Learner", "Task"],
        "evaluation": ["Report", "compare", "evaluate", "overfitting_gap"],
        "shipped": ["pretrained"],
        "sklearn": ["FewShotClassifier"],
        "storage.checkpoint": ["load"],
        "training": ["Run", "meta_train"],
    },
)
