"""Comparisons that one command runs again: `quickstudy reproduce NAME`.

A reproduction is a registered function `(folder, tick, quick=False, seeds=...) -> lines`: it writes its tables
(Markdown and JSON) and plots into the folder, and returns the lines that sum them up. Rows of the results (`row.Row`)
are reproductions of one figure each.
"""

from quickstudy_studies.architectures.study import architectures
from quickstudy_studies.auxiliary_losses.study import auxiliary_losses
from quickstudy_studies.balancing.study import balancing
from quickstudy_studies.beliefs.study import beliefs
from quickstudy_studies.challenge.challenge_alphabets import challenge_alphabets
from quickstudy_studies.challenge.known_alphabets import challenge_known
from quickstudy_studies.hyper_parameters.study import hyper_parameters
from quickstudy_studies.learned_data.study import augmentation, class_imbalance, distillation
from quickstudy_studies.learned_loss.study import learned_loss
from quickstudy_studies.learned_optimizer.study import learned_optimizer
from quickstudy_studies.noisy_labels.study import noisy_labels
from quickstudy_studies.pac_bayes.study import pac_bayes
from quickstudy_studies.pretrained import pretrained_learners
from quickstudy_studies.results.omniglot_rows import ROWS
from quickstudy_studies.results.other_rows import OTHERS
from quickstudy_studies.robustness import robustness
from quickstudy_studies.sensitivity import sensitivity
from quickstudy_studies.simulators.study import simulators
from quickstudy_studies.training_classes import training_classes
from quickstudy_studies.two_modes.study import two_modes
from quickstudy_studies.unlike_tables.study import unlike_tables
from quickstudy_studies.wrong_episodes import wrong_episodes

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
