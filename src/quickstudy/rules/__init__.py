"""HOW an inner loop moves what it adapts: update rules, of fixed form or learned."""

from quickstudy.rules.base import LearnedRule, Rule, Theta
from quickstudy.rules.fixed import SGD, Adam, LearnedRates, ProximalSGD

__all__ = ["SGD", "Adam", "LearnedRates", "LearnedRule", "ProximalSGD", "Rule", "Theta"]
