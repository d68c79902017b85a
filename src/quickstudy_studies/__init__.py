"""Which studies are there, and where is each?"""

from quickstudy.registry import Announcement

STUDIES = {
    "architectures": Announcement(
        "quickstudy_studies.architectures.study:architectures",
        "DARTS, of both orders, in a space of 125 cells that are all trained, beside random search and evolution.",
    ),
    "augmentation": Announcement(
        "quickstudy_studies.learned_data.study:augmentation",
        "Learn how far to turn upright digits, for queries that are turned by up to 30 degrees.",
    ),
    "auxiliary-losses": Announcement(
        "quickstudy_studies.auxiliary_losses.study:auxiliary_losses",
        "Learned weights of auxiliary losses on 100 digits: a teacher's logits, reconstruction, random numbers.",
    ),
    "balancing": Announcement(
        "quickstudy_studies.balancing.study:balancing",
        "A controller of a cart-pole, trained in a simulator that is changed until it does best on the real one.",
    ),
    "beliefs": Announcement(
        "quickstudy_studies.beliefs.study:beliefs",
        "Bayesian learners beside MAML on noisy sinusoids and half planes: coverage, likelihood, worth of abstaining.",
    ),
    "challenge-alphabets": Announcement(
        "quickstudy_studies.challenge.challenge_alphabets:challenge_alphabets",
        "The error of the Omniglot challenge on each alphabet, by the run whose fold holds it out.",
    ),
    "challenge-known": Announcement(
        "quickstudy_studies.challenge.known_alphabets:challenge_known",
        "The challenge in the hands of 6 of 20 people, asked of a run that knows the alphabets and of others.",
    ),
    "class-imbalance": Announcement(
        "quickstudy_studies.learned_data.study:class_imbalance",
        "Learn weights of two classes, one 50 times as frequent, beside plain training and inverse frequencies.",
    ),
    "distillation": Announcement(
        "quickstudy_studies.learned_data.study:distillation",
        "Distil 1,000 digits into ten synthetic ones: beside real ones, means of classes, centres, and all rows.",
    ),
    "episode": Announcement(
        "quickstudy_studies.episode:episode",
        "One test task of the demonstration: five characters seen once, and what is said of new drawings of them.",
    ),
    "heads": Announcement(
        "quickstudy_studies.heads:heads",
        "The head of a classifier without a learner beside logistic regression, on scikit-learn's tables and digits.",
    ),
    "hyper-parameters": Announcement(
        "quickstudy_studies.hyper_parameters.study:hyper_parameters",
        "Find 64 weight decays, and 4 hyper-parameters, on digits: hyper-gradients beside 100 training runs of Optuna.",
    ),
    "learned-loss": Announcement(
        "quickstudy_studies.learned_loss.study:learned_loss",
        "ML3's learned loss on sinusoids with right and with wrong targets: curves in new tasks, and the loss.",
    ),
    "learned-optimizer": Announcement(
        "quickstudy_studies.learned_optimizer.study:learned_optimizer",
        "Compare the shipped learned optimiser with SGD, Adam and AdamW, their rates tuned, on 20 held-out problems.",
    ),
    "memory": Announcement(
        "quickstudy_studies.memory:memory",
        "The readings and answers of a MANN and a DNC along one sequence of Omniglot's drawings.",
    ),
    "neural-processes": Announcement(
        "quickstudy_studies.neural_processes:neural_processes",
        "Neural processes beside the exact posterior of the Gaussian process that their tasks are drawn from.",
    ),
    "noisy-labels": Announcement(
        "quickstudy_studies.noisy_labels.study:noisy_labels",
        "Meta-Weight-Net on digits of which 40 % have a wrong label: what it wins back, and how it weighs them.",
    ),
    "pac-bayes": Announcement(
        "quickstudy_studies.pac_bayes.study:pac_bayes",
        "PAC-Bayes bounds of meta-learned priors beside the error in new tasks, by the number of tasks learned from.",
    ),
    "pretrained": Announcement(
        "quickstudy_studies.pretrained:pretrained_learners",
        "Accuracy of the learners that come with the library, on new glyphs and on new drawings of Omniglot.",
    ),
    "robustness": Announcement(
        "quickstudy_studies.robustness:robustness",
        "Accuracy under other ways and shots, noise, blur and adversarial queries: ProtoNet, MAML and ADML.",
    ),
    "sensitivity": Announcement(
        "quickstudy_studies.sensitivity:sensitivity",
        "Error of MAML and its kin by the inner learning rate, trained and tested, and by inner steps in the test.",
    ),
    "sequences": Announcement(
        "quickstudy_studies.sequences:sequences",
        "Accuracy by presentation of a class, of every learner of the results that is measured on sequences.",
    ),
    "simulators": Announcement(
        "quickstudy_studies.simulators.study:simulators",
        "Hidden parameters of a pendulum and a cart-pole, by gradient, evolution strategies and CMA-ES.",
    ),
    "training-classes": Announcement(
        "quickstudy_studies.training_classes:training_classes",
        "Meta-overfitting: accuracy on new classes by the number of training classes, a method of each family.",
    ),
    "two-modes": Announcement(
        "quickstudy_studies.two_modes.study:two_modes",
        "Few-shot regression of sinusoids and lines: MAML, a MAML for each, and MMAML, which tells them apart.",
    ),
    "unlike-tables": Announcement(
        "quickstudy_studies.unlike_tables.study:unlike_tables",
        "Tables of different numbers of attributes and classes: each of four held out, and learned from a few rows.",
    ),
    "wrong-episodes": Announcement(
        "quickstudy_studies.wrong_episodes:wrong_episodes",
        "Episodes that the best model gets wrong: a picture, and which classes are taken for which.",
    ),
}
"""What each is, by the name that `quickstudy reproduce NAME` asks for; a study is imported when it is run."""
LISTS = ("quickstudy_studies.results.other_rows",)
"""Modules of rows of the results, one figure each."""
