"""Task distributions: FROM WHERE tasks come."""

from quickstudy.tasks.algorithmic import AssociativeRecall, Copy
from quickstudy.tasks.attributes import Attributes
from quickstudy.tasks.augmentations import Blur, Noise, Warp
from quickstudy.tasks.base import Bank, TaskDistribution
from quickstudy.tasks.budgets import Budgets
from quickstudy.tasks.characters import Characters
from quickstudy.tasks.convex import LogisticRegression, Quadratics
from quickstudy.tasks.few_shot import FewShot
from quickstudy.tasks.functions import FunctionTasks, Linear, MultiModal, Sinusoid
from quickstudy.tasks.gaussian_process import GaussianProcess
from quickstudy.tasks.half_planes import HalfPlanes
from quickstudy.tasks.half_spaces import HalfSpaces
from quickstudy.tasks.imitation import Imitation
from quickstudy.tasks.linear_regression import LinearRegression
from quickstudy.tasks.meta_dataset_tasks import MetaDataset
from quickstudy.tasks.motion import Motion
from quickstudy.tasks.one_task import OneTask
from quickstudy.tasks.optimizer_problems import optimizer_problems
from quickstudy.tasks.orders import Mixture, by_group
from quickstudy.tasks.pattern_completion import PatternCompletion
from quickstudy.tasks.problems import Fitting
from quickstudy.tasks.restarts import Restarts
from quickstudy.tasks.segmentation import Segmentation
from quickstudy.tasks.sequential import Sequential
from quickstudy.tasks.source_pairs import SourcePairs
from quickstudy.tasks.supervised import Supervised

__all__ = [
    "AssociativeRecall",
    "Attributes",
    "Bank",
    "Blur",
    "Budgets",
    "Characters",
    "Copy",
    "FewShot",
    "Fitting",
    "FunctionTasks",
    "GaussianProcess",
    "HalfPlanes",
    "HalfSpaces",
    "Imitation",
    "Linear",
    "LinearRegression",
    "LogisticRegression",
    "MetaDataset",
    "Mixture",
    "Motion",
    "MultiModal",
    "Noise",
    "OneTask",
    "PatternCompletion",
    "Quadratics",
    "Restarts",
    "Segmentation",
    "Sequential",
    "Sinusoid",
    "SourcePairs",
    "Supervised",
    "TaskDistribution",
    "Warp",
    "by_group",
    "optimizer_problems",
]
