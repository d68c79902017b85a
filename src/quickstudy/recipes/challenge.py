"""The Omniglot challenge: 20 characters of an alphabet never seen, one drawing of each, asked for by another hand.

Lake, Salakhutdinov & Tenenbaum 2015, "Human-level concept learning through probabilistic program induction", and 2019,
"The Omniglot challenge: a 3-year progress report". Errors there: people 4.5 %, Bayesian program learning 3.3 %,
Prototypical networks 13.7 %; with five background alphabets ('minimal') Bayesian program learning 4.2 %, Prototypical
networks 30.1 %. Departures: alphabets are held out of the background set, fold by fold, in place of the evaluation set.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from torch import manual_seed

from quickstudy import datasets, learners, nets, outer
from quickstudy.datasets.base import ClassData, with_rotations
from quickstudy.datasets.combining import with_combinations
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.nets.conv4 import Norm
from quickstudy.operators.calls import BatchNormPolicy
from quickstudy.outer.base import OptimizerName, Schedule
from quickstudy.recipes.base import Recipe, RecipeParts, recipe
from quickstudy.tasks.augmentations import Warp
from quickstudy.tasks.data.few_shot import FewShot
from quickstudy.tasks.data.source_pairs import SourcePairs

FOLDS = 5
CHOSEN_ON = 1
"""The fold of five on whose alphabets these settings were chosen; what is reported leaves it out."""


@recipe("omniglot-challenge", learner="ProtoNet", paper="Lake et al. 2015; Snell et al. 2017")
@dataclass
class OmniglotChallenge(Recipe):
    """Prototypical network for one-shot recognition of the characters of a new alphabet."""

    train_on: Literal["background", "small1", "small2", "known"] = "background"
    """Alphabets of meta-training: 'background' takes those not held out, 'small1' and 'small2' are the two official
    minimal sets of five. 'known' takes all alphabets as drawn by 14 of their 20 people; the test asks for them as drawn
    by the others. `quickstudy reproduce challenge-known` does that, because `evaluate` refuses classes that were
    trained on."""
    fold: int = 0
    """Number of the fold of alphabets, among `folds`, that is held out for the test; used only with --train-on
    background."""
    folds: int = FOLDS
    """Number of folds into which alphabets are dealt."""
    validation: int = 0
    """Number of further alphabets held out for choosing weights; 0 takes the last weights."""
    ways: int = 20
    """Characters per task in test."""
    train_ways: int = 20
    """Largest number of characters per task in meta-training; alphabets that have fewer give all of theirs."""
    queries: int = 3
    """Query drawings per character in meta-training."""
    pixels: int = 32
    """Height and width that drawings are reduced to."""
    size: int = 32
    """Height and width of the frame around what is drawn, as the net sees it."""
    aspect: float = 0.5
    """Power of the ratio of a drawing's shorter side to its longer one in the frame (`nets.Drawings`)."""
    rotations: bool = True
    """Whether alphabets turned by 90, 180 and 270 degrees are further alphabets."""
    combinations: int = 0
    """Number of further alphabets for meta-training, whose characters are put together from those of one alphabet
    (`with_combinations`)."""
    warp: float = 0.7
    """Strength of the random warps of training drawings; 0 leaves drawings unchanged."""
    hidden: int = 64
    """Filters per block of the net; the first block has half as many."""
    halvings: int = 2
    """Number of times that the net halves its maps, once every second block from the first on. The places of the last
    maps are compared."""
    reach: float = 2.0
    """Number of places by which a part may be off in the last maps (`nets.Distortion`); 0 compares the same places."""
    scaled: bool = True
    """Whether distances have a learned factor, which starts at one over the root of the number of features
    (`ProtoNet(scale=)`)."""
    norm: Norm = "group"
    """Normalisation in the net: 'batch', 'group', 'layer' or 'none'."""
    batch_norm: BatchNormPolicy = "support"
    """Source of the batch statistics for queries: 'support' or 'transductive'."""
    objective: Literal["all_pairs", "query_loss"] = "all_pairs"
    """Objective: 'all_pairs' is the loss of every pair of drawings of a character, 'query_loss' that of queries
    alone."""
    optimizer: OptimizerName = "muon"
    """Outer optimiser."""
    lr: float = 0.01
    """Outer learning rate."""
    schedule: Schedule = "cosine"
    """Schedule of the outer learning rate."""
    steps: int = 3000
    meta_batch: int = 2

    def splits(self) -> tuple[ClassData, ClassData | None, ClassData]:
        """Return drawings for meta-training, for choosing weights, and for the test, with disjoint alphabets.

        Where they are known, with disjoint people of each alphabet instead.
        """
        data = datasets.omniglot(size=self.pixels, subset="background")
        alphabets = sorted(data.groups("alphabet"))
        if not 2 <= self.folds <= len(alphabets):
            raise InputError(f"folds must lie in 2..{len(alphabets)}, the number of alphabets, not {self.folds}")
        if not 0 <= self.fold < self.folds:
            raise InputError(f"fold must lie in 0..{self.folds - 1}, not {self.fold}")
        if self.train_on == "known":
            if self.validation:
                raise InputError("train_on='known' trains on all alphabets, so validation must be 0")
            return _by(data, others=False), None, _by(data, others=True)
        if self.train_on == "background":
            dealt = _dealt(alphabets, self.folds)
            test = dealt[self.fold]
            rest = [name for fold in dealt for name in fold if fold is not test]
            held, train = rest[: self.validation], rest[self.validation :]
        else:
            train = sorted(datasets.omniglot(subset=self.train_on).groups("alphabet"))
            dealt = [[name for name in fold if name not in train] for fold in _dealt(alphabets, FOLDS)]
            held = dealt.pop(CHOSEN_ON)[: self.validation]
            test = [name for fold in dealt for name in fold]
        if len(held) < self.validation or not train:
            raise InputError(f"validation={self.validation} alphabets are more than can be held out for choosing")
        return _of(data, train), _of(data, held) if held else None, _of(data, test)

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe."""
        train, validation, test = self.splits()
        manual_seed(self.seed)  # the initial weights
        fewest = min(self.train_ways, *map(len, train.groups("alphabet").values()))
        train = _turned(train) if self.rotations else train
        train = with_combinations(train, self.combinations, seed=self.seed)
        widths = (self.hidden // 2, *(self.hidden,) * 5)
        net = nets.ConvNet(1, widths, tuple(range(0, 2 * self.halvings, 2)), norm=self.norm, size=self.size)
        edge = self.size >> self.halvings
        return RecipeParts(
            learner=learners.ProtoNet(
                nets.Drawings(net, self.size, framed=True, aspect=self.aspect),
                nets.Distortion(edge, edge, self.reach) if self.reach else "euclidean",
                batch_norm=self.batch_norm,
                scale=net.features**-0.5 if self.scaled else None,
            ),
            train=FewShot(
                train,
                ways=(fewest, self.train_ways),
                shots=1,
                queries=self.queries,
                seed=self.seed,
                within="alphabet",
                disjoint_sources=True,
                augment=Warp().times(self.warp) if self.warp else None,
            ),
            validation=None if validation is None else SourcePairs(validation, (min(10, self.ways), self.ways), seed=1),
            test=SourcePairs(test, self.ways, seed=2),
            outer=outer.Gradient(lr=self.lr, optimizer=self.optimizer, schedule=self.schedule),
            options={"objective": self.objective},
        )


def _dealt(alphabets: list[str], folds: int) -> list[list[str]]:
    """Return so many parts of the alphabets, always the same."""
    order = random.permutation(random.key(0), len(alphabets)).tolist()
    return [[alphabets[i] for i in order[fold::folds]] for fold in range(folds)]


def _of(data: ClassData, alphabets: list[str]) -> ClassData:
    """Return the drawings of some alphabets."""
    groups = data.groups("alphabet")
    return data.subset([data.classes[i] for name in alphabets for i in groups[name]])


def _by(data: ClassData, others: bool) -> ClassData:
    """Return what 14 of the 20 people of each alphabet have drawn, or what the others have."""
    assert data.source is not None
    rows = (data.source % 3 == 0) == others
    return dataclasses.replace(data, inputs=data.inputs[rows], labels=data.labels[rows], source=data.source[rows])


def _turned(data: ClassData) -> ClassData:
    """Return each alphabet and its turned copies as alphabets of their own."""
    turned = with_rotations(data)
    names = tuple(
        f"{alphabet}{name[name.rindex('@') :] if '@' in name else ''}"
        for name, alphabet in zip(turned.classes, turned.attributes["alphabet"], strict=True)
    )
    return dataclasses.replace(turned, attributes={**turned.attributes, "alphabet": names})
