"""Comparisons that one command runs again: `quickstudy reproduce NAME`.

A reproduction is a registered function `(folder, tick, quick=False, seeds=...) -> lines`: it writes its tables
(Markdown and JSON) and plots into the folder, and returns the lines that sum them up. Rows of the results (`row.Row`)
are reproductions of one figure each.
"""

from quickstudy.reproductions.architectures import architectures
from quickstudy.reproductions.auxiliary_losses import auxiliary_losses
from quickstudy.reproductions.balancing import balancing
from quickstudy.reproductions.beliefs import beliefs
from quickstudy.reproductions.challenge_alphabets import challenge_alphabets
from quickstudy.reproductions.hyper_parameters import hyper_parameters
from quickstudy.reproductions.known_alphabets import challenge_known
from quickstudy.reproductions.learned_data import augmentation, class_imbalance, distillation
from quickstudy.reproductions.learned_loss import learned_loss
from quickstudy.reproductions.learned_optimizer import learned_optimizer
from quickstudy.reproductions.noisy_labels import noisy_labels
from quickstudy.reproductions.omniglot_rows import ROWS
from quickstudy.reproductions.other_rows import OTHERS
from quickstudy.reproductions.pac_bayes import pac_bayes
from quickstudy.reproductions.robustness import robustness
from quickstudy.reproductions.sensitivity import sensitivity
from quickstudy.reproductions.shipped_learners import pretrained_learners
from quickstudy.reproductions.simulators import simulators
from quickstudy.reproductions.training_classes import training_classes
from quickstudy.reproductions.two_modes import two_modes
from quickstudy.reproductions.unlike_tables import unlike_tables
from quickstudy.reproductions.wrong_episodes import wrong_episodes

__all__ = [
    "OTHERS",
    "ROWS",
    "architectures",
    "augmentation",
    "auxiliary_losses",
    "balancing",
    "beliefs",
    "challenge_alphabets",
    "challenge_known",
    "class_imbalance",
    "distillation",
    "hyper_parameters",
    "learned_loss",
    "learned_optimizer",
    "noisy_labels",
    "pac_bayes",
    "pretrained_learners",
    "robustness",
    "sensitivity",
    "simulators",
    "training_classes",
    "two_modes",
    "unlike_tables",
    "wrong_episodes",
]
