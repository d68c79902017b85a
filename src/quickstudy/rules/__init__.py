"""HOW an inner loop moves what it adapts: update rules, of fixed form or learned."""

from quickstudy.rules.base import LearnedRule, Rule, Theta
from quickstudy.rules.fixed import SGD, Adam, AdamW, LearnedRates, ProximalSGD
from quickstudy.rules.lstm import LSTMRule
from quickstudy.rules.mlp import MLPRule
from quickstudy.rules.step_rates import StepRates
from quickstudy.rules.svgd import SVGD
from quickstudy.rules.velo import VeLO

__all__ = [
    "SGD",
    "SVGD",
    "Adam",
    "AdamW",
    "LSTMRule",
    "LearnedRates",
    "LearnedRule",
    "MLPRule",
    "ProximalSGD",
    "Rule",
    "StepRates",
    "Theta",
    "VeLO",
]
