"""Recipes on Omniglot: those on glyphs, with other data and, where it needs more, other numbers.

They are made for minutes on a CPU. The gradient-based ones share three departures from their papers: five queries per
class in meta-training, a cosine schedule, and fewer outer steps of fewer tasks than the papers' 60,000 of 16 or 32.
`quickstudy reproduce omniglot-maml-5w1s` and its like take the papers' numbers (`--quick`: the numbers here). Nets that
embed learn in fewer steps with Muon than with their papers' Adam (docs/guide/outer.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from quickstudy.outer.base import OptimizerName
from quickstudy.recipes.base import recipe
from quickstudy.recipes.baselines import GlyphsBaselinePlusPlus, GlyphsFineTune, GlyphsLogistic
from quickstudy.recipes.few_shot import Data
from quickstudy.recipes.memory import GlyphsDNC, GlyphsMANN, GlyphsRecurrent
from quickstudy.recipes.metric import GlyphsMatchingNet, GlyphsProtoNet, GlyphsRelationNet, GlyphsSiamese
from quickstudy.recipes.model import GlyphsHyperNetwork, GlyphsInContext, GlyphsMetaNet, GlyphsPlastic, GlyphsSNAIL
from quickstudy.recipes.optimization import (
    GlyphsADML,
    GlyphsANIL,
    GlyphsCAVIA,
    GlyphsFOMAML,
    GlyphsIMAML,
    GlyphsMAML,
    GlyphsMetaSGD,
    GlyphsProtoMAML,
    GlyphsReptile,
)
from quickstudy.recipes.streams import (
    GlyphsStreamInContext,
    GlyphsStreamMetaNet,
    GlyphsStreamPlastic,
    GlyphsStreamSNAIL,
)


@recipe("omniglot-protonet", learner="ProtoNet", paper="Snell et al. 2017")
@dataclass
class OmniglotProtoNet(GlyphsProtoNet):
    """Prototypical network on Omniglot."""

    data: Data = "omniglot"
    train_ways: int = 60
    optimizer: OptimizerName = "muon"
    lr: float = 0.01
    steps: int = 5000
    meta_batch: int = 1
    warp: float = 0.7


@recipe("omniglot-siamese", learner="Siamese", paper="Hadsell et al. 2006; Koch et al. 2015")
@dataclass
class OmniglotSiamese(GlyphsSiamese):
    """Siamese network with contrastive or triplet loss on Omniglot."""

    data: Data = "omniglot"
    optimizer: OptimizerName = "muon"
    lr: float = 0.01
    steps: int = 3000


@recipe("omniglot-matching", learner="MatchingNet", paper="Vinyals et al. 2016")
@dataclass
class OmniglotMatchingNet(GlyphsMatchingNet):
    """Matching network on Omniglot, with or without full-context embeddings."""

    data: Data = "omniglot"
    optimizer: OptimizerName = "muon"
    lr: float = 0.01
    steps: int = 3000


@recipe("omniglot-relation", learner="RelationNet", paper="Sung et al. 2018")
@dataclass
class OmniglotRelationNet(GlyphsRelationNet):
    """Relation network on Omniglot."""

    data: Data = "omniglot"
    optimizer: OptimizerName = "muon"
    lr: float = 0.01
    steps: int = 2000


@recipe("omniglot-maml", learner="MAML", paper="Finn et al. 2017")
@dataclass
class OmniglotMAML(GlyphsMAML):
    """MAML on Omniglot."""

    data: Data = "omniglot"


@recipe("omniglot-fomaml", learner="FOMAML", paper="Finn et al. 2017")
@dataclass
class OmniglotFOMAML(GlyphsFOMAML):
    """First-order MAML on Omniglot."""

    data: Data = "omniglot"


@recipe("omniglot-reptile", learner="Reptile", paper="Nichol et al. 2018")
@dataclass
class OmniglotReptile(GlyphsReptile):
    """Reptile on Omniglot: inner Adam, batches of 10, 10 training shots."""

    data: Data = "omniglot"


@recipe("omniglot-metasgd", learner="MetaSGD", paper="Li et al. 2017")
@dataclass
class OmniglotMetaSGD(GlyphsMetaSGD):
    """Meta-SGD on Omniglot."""

    data: Data = "omniglot"


@recipe("omniglot-cavia", learner="CAVIA", paper="Zintgraf et al. 2019")
@dataclass
class OmniglotCAVIA(GlyphsCAVIA):
    """CAVIA on Omniglot, with a context of 100 numbers."""

    data: Data = "omniglot"


@recipe("omniglot-anil", learner="ANIL", paper="Raghu et al. 2020")
@dataclass
class OmniglotANIL(GlyphsANIL):
    """ANIL on Omniglot."""

    data: Data = "omniglot"


@recipe("omniglot-adml", learner="ADML", paper="Yin et al. 2018")
@dataclass
class OmniglotADML(GlyphsADML):
    """ADML on Omniglot."""

    data: Data = "omniglot"


@recipe("omniglot-imaml", learner="IMAML", paper="Rajeswaran et al. 2019")
@dataclass
class OmniglotIMAML(GlyphsIMAML):
    """Implicit MAML on Omniglot."""

    data: Data = "omniglot"


@recipe("omniglot-protomaml", learner="ProtoMAML", paper="Triantafillou et al. 2020")
@dataclass
class OmniglotProtoMAML(GlyphsProtoMAML):
    """Proto-MAML on Omniglot."""

    data: Data = "omniglot"


@recipe("omniglot-incontext", learner="InContext", paper="Kirsch et al. 2022")
@dataclass
class OmniglotInContext(GlyphsInContext):
    """In-context learner on Omniglot."""

    data: Data = "omniglot"
    steps: int = 10000


@recipe("omniglot-hypernetwork", learner="HyperNetwork", paper="Ha et al. 2016")
@dataclass
class OmniglotHyperNetwork(GlyphsHyperNetwork):
    """Hypernetwork learner on Omniglot: the support becomes a linear classifier."""

    data: Data = "omniglot"
    steps: int = 10000


@recipe("omniglot-snail", learner="SNAIL", paper="Mishra et al. 2018")
@dataclass
class OmniglotSNAIL(GlyphsSNAIL):
    """SNAIL on Omniglot."""

    data: Data = "omniglot"
    optimizer: OptimizerName = "muon"
    lr: float = 0.005
    steps: int = 3000


@recipe("omniglot-metanet", learner="MetaNet", paper="Munkhdalai & Yu 2017")
@dataclass
class OmniglotMetaNet(GlyphsMetaNet):
    """Meta network on Omniglot."""

    data: Data = "omniglot"
    optimizer: OptimizerName = "muon"
    lr: float = 0.01
    steps: int = 3000


@recipe("omniglot-plastic", learner="Plastic", paper="Miconi et al. 2018")
@dataclass
class OmniglotPlastic(GlyphsPlastic):
    """Plastic network on Omniglot, with a Hebbian, Oja's or a neuromodulated rule."""

    data: Data = "omniglot"
    steps: int = 10000


@recipe("omniglot-mann", learner="MANN", paper="Santoro et al. 2016")
@dataclass
class OmniglotMANN(GlyphsMANN):
    """Memory-augmented network on sequences of Omniglot."""

    data: Data = "omniglot"
    steps: int = 5000


@recipe("omniglot-dnc", learner="DNC", paper="Graves et al. 2016")
@dataclass
class OmniglotDNC(GlyphsDNC):
    """Differentiable neural computer on sequences of Omniglot."""

    data: Data = "omniglot"
    steps: int = 5000


@recipe("omniglot-lstm", learner="RecurrentLearner", paper="Hochreiter et al. 2001")
@dataclass
class OmniglotRecurrent(GlyphsRecurrent):
    """LSTM or GRU on sequences of Omniglot."""

    data: Data = "omniglot"
    steps: int = 5000


@recipe("omniglot-stream-snail", learner="SNAIL", paper="Mishra et al. 2018")
@dataclass
class OmniglotStreamSNAIL(GlyphsStreamSNAIL):
    """SNAIL on streams of Omniglot."""

    data: Data = "omniglot"
    steps: int = 5000


@recipe("omniglot-stream-metanet", learner="MetaNet", paper="Munkhdalai & Yu 2017")
@dataclass
class OmniglotStreamMetaNet(GlyphsStreamMetaNet):
    """Meta network on streams of Omniglot."""

    data: Data = "omniglot"
    steps: int = 5000


@recipe("omniglot-stream-plastic", learner="Plastic", paper="Miconi et al. 2018")
@dataclass
class OmniglotStreamPlastic(GlyphsStreamPlastic):
    """Plastic network on streams of Omniglot."""

    data: Data = "omniglot"
    steps: int = 5000


@recipe("omniglot-stream-incontext", learner="CausalInContext", paper="Kirsch et al. 2022")
@dataclass
class OmniglotStreamInContext(GlyphsStreamInContext):
    """Causal in-context learner on streams of Omniglot."""

    data: Data = "omniglot"
    steps: int = 5000


@recipe("omniglot-finetune", learner="FineTune", paper="Chen et al. 2019")
@dataclass
class OmniglotFineTune(GlyphsFineTune):
    """Fine-tuning of a pretrained net on Omniglot."""

    data: Data = "omniglot"


@recipe("omniglot-baselineplusplus", learner="BaselinePlusPlus", paper="Chen et al. 2019")
@dataclass
class OmniglotBaselinePlusPlus(GlyphsBaselinePlusPlus):
    """Baseline++ on Omniglot."""

    data: Data = "omniglot"


@recipe("omniglot-logistic", learner="LogisticRegressionOnFeatures", paper="Tian et al. 2020")
@dataclass
class OmniglotLogistic(GlyphsLogistic):
    """Logistic regression on a pretrained net's features, on Omniglot."""

    data: Data = "omniglot"
    optimizer: OptimizerName = "muon"
    lr: float = 0.01
