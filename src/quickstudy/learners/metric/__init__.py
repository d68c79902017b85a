"""Metric-based learners: embed, then compare."""

from quickstudy.learners.metric.matching_net import MatchingNet
from quickstudy.learners.metric.proto_net import ProtoNet
from quickstudy.learners.metric.relation_net import RelationNet
from quickstudy.learners.metric.siamese import Siamese

__all__ = ["MatchingNet", "ProtoNet", "RelationNet", "Siamese"]
