"""Recipes of the learners of drawings that come with the library (`quickstudy.pretrained`): on glyphs and Omniglot.

Departures from the papers: both data sets at once, each task from one of them, the writing of either's test left out of
the other; the net takes drawings as they come (`nets.Drawings`); few and small outer steps; Muon and warped
drawings for the Prototypical network.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from quickstudy import nets
from quickstudy.datasets import ClassData, join
from quickstudy.outer.base import OptimizerName
from quickstudy.recipes.base import RecipeParts, recipe
from quickstudy.recipes.few_shot import FewShotRecipe, ImageRecipe
from quickstudy.recipes.metric import GlyphsProtoNet
from quickstudy.recipes.optimization import GlyphsMAML
from quickstudy.tasks.data.few_shot import FewShot

ELSEWHERE = {
    "glyphs": ("script", ("HEBREW", "GEORGIAN")),
    "omniglot": ("alphabet", ("Cyrillic", "Malay_(Jawi_-_Arabic)")),
}
"""For each data set, the writing that is in the other one's test. It is neither trained nor chosen on, so that no
letter of a test was seen before in print or in handwriting."""


@dataclass
class DrawingsRecipe(FewShotRecipe):
    """Options that recipes on both data sets share."""

    data: Literal["both"] = "both"  # type: ignore[assignment]
    """Source of the tasks: glyphs (split by script) and Omniglot (Vinyals' classes with rotations), each task from one
    of them."""
    train_classes: int = 0
    """Number of meta-training classes of each data set, before rotations and what is left out; 0 takes all."""
    framed: bool = True
    """Whether drawings are cut to their ink, so that place and size do not matter."""

    def splits(self) -> tuple[ClassData, ClassData, ClassData]:
        """Return meta-training, -validation and -test data, with the attribute 'data'."""
        each = [self._splits_of(name) for name in ELSEWHERE]
        train, validation, test = (join(parts) for parts in zip(*each, strict=True))
        if self.test_data != "same":
            test = self._splits_of(self.test_data)[2]
        return train, validation, test

    def _splits_of(self, name: str) -> tuple[ClassData, ClassData, ClassData]:
        alone: Any = dataclasses.replace(self, data=name, test_data="same")  # type: ignore[arg-type]
        train, validation, test = ImageRecipe.splits(alone)
        return _without_elsewhere(train, name), _without_elsewhere(validation, name), test

    def net(self, outputs: int | None = None, flatten: bool = True, context: int = 0, halvings: int = 4) -> nn.Module:
        """Return the backbone, which takes drawings as they come."""
        return nets.Drawings(super().net(outputs, flatten, context, halvings), framed=self.framed)

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe."""
        plan = super().plan()
        parts: dict[str, Any] = {part: _apart(getattr(plan, part)) for part in ("train", "validation", "test")}
        return dataclasses.replace(plan, **parts)


@recipe("drawings-protonet", learner="ProtoNet", paper="Snell et al. 2017")
@dataclass
class DrawingsProtoNet(DrawingsRecipe, GlyphsProtoNet):
    """Prototypical network on glyphs and Omniglot at once, for drawings of any kind."""

    train_ways: int = 60
    optimizer: OptimizerName = "muon"
    lr: float = 0.01
    steps: int = 5000
    meta_batch: int = 1
    warp: float = 0.7


@recipe("drawings-maml", learner="MAML", paper="Finn et al. 2017")
@dataclass
class DrawingsMAML(DrawingsRecipe, GlyphsMAML):
    """MAML on glyphs and Omniglot at once, for five classes of drawings of any kind."""

    steps: int = 4000


def _without_elsewhere(data: ClassData, name: str) -> ClassData:
    """Return data without the writing that is in the test of the other data set."""
    attribute, values = ELSEWHERE[name]
    return data.subset([i for i, value in enumerate(data.attributes[attribute]) if value not in values])


def _apart(tasks: FewShot) -> FewShot:
    """Return the same tasks with the classes of each from one data set: in one task, print and handwriting are too
    easily told apart."""
    within = "data" if "data" in tasks.data.attributes else None
    return FewShot(tasks.data, tasks.ways, tasks.shots, tasks.queries, tasks.seed, within=within, augment=tasks.augment)
