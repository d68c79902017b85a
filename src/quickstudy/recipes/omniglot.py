"""Optimisation-based recipes and Baseline++ on Omniglot: those on glyphs, with the data and settings of the papers.

Departures that all share: five queries a class in meta-training, a cosine schedule, and fewer and smaller steps than
the papers' 60,000 of 16 or 32 tasks (`steps` and `meta_batch` set them).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from quickstudy.recipes import baselines, optimization
from quickstudy.registry import register


@register("recipe", "omniglot-fomaml", paper="Finn et al. 2017")
@dataclass
class OmniglotFOMAML(optimization.GlyphsFOMAML):
    """First-order MAML on Omniglot."""

    data: Literal["glyphs", "omniglot"] = "omniglot"


@register("recipe", "omniglot-anil", paper="Raghu et al. 2020")
@dataclass
class OmniglotANIL(optimization.GlyphsANIL):
    """ANIL on Omniglot."""

    data: Literal["glyphs", "omniglot"] = "omniglot"


@register("recipe", "omniglot-metasgd", paper="Li et al. 2017")
@dataclass
class OmniglotMetaSGD(optimization.GlyphsMetaSGD):
    """Meta-SGD on Omniglot."""

    data: Literal["glyphs", "omniglot"] = "omniglot"


@register("recipe", "omniglot-cavia", paper="Zintgraf et al. 2019")
@dataclass
class OmniglotCAVIA(optimization.GlyphsCAVIA):
    """CAVIA on Omniglot."""

    data: Literal["glyphs", "omniglot"] = "omniglot"


@register("recipe", "omniglot-adml", paper="Yin et al. 2018")
@dataclass
class OmniglotADML(optimization.GlyphsADML):
    """ADML on Omniglot."""

    data: Literal["glyphs", "omniglot"] = "omniglot"


@register("recipe", "omniglot-imaml", paper="Rajeswaran et al. 2019")
@dataclass
class OmniglotIMAML(optimization.GlyphsIMAML):
    """Implicit MAML on Omniglot."""

    data: Literal["glyphs", "omniglot"] = "omniglot"


@register("recipe", "omniglot-protomaml", paper="Triantafillou et al. 2020")
@dataclass
class OmniglotProtoMAML(optimization.GlyphsProtoMAML):
    """Proto-MAML on Omniglot."""

    data: Literal["glyphs", "omniglot"] = "omniglot"


@register("recipe", "omniglot-reptile", paper="Nichol et al. 2018")
@dataclass
class OmniglotReptile(optimization.GlyphsReptile):
    """Reptile on Omniglot."""

    data: Literal["glyphs", "omniglot"] = "omniglot"


@register("recipe", "omniglot-baselineplusplus", paper="Chen et al. 2019")
@dataclass
class OmniglotBaselinePlusPlus(baselines.GlyphsBaselinePlusPlus):
    """Baseline++ on Omniglot."""

    data: Literal["glyphs", "omniglot"] = "omniglot"
