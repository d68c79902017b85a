"""Comparisons that one command runs again: `quickstudy reproduce NAME`.

A reproduction is a registered function `(folder, tick, quick=False, seeds=...) -> lines`: it writes its tables
(Markdown and JSON) and plots into the folder, and returns the lines that sum them up.
"""

from quickstudy.reproductions.learned_optimizer import learned_optimizer
from quickstudy.reproductions.noisy_labels import noisy_labels

__all__ = ["learned_optimizer", "noisy_labels"]
