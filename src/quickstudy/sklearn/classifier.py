"""Few-shot classification as a scikit-learn estimator.

    clf = FewShotClassifier.from_run("runs/maml").fit(X, y)     # adapt to a support of labelled rows
    clf.predict_proba(X_new)                                    # predict queries

One estimator is one task: `fit` is the learner's `adapt`, `predict` its `predict`. It follows scikit-learn's
conventions, so it can be cloned, pickled, put into a pipeline, cross-validated and searched over.
"""

from __future__ import annotations

import copy
import os
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_array, check_random_state, check_X_y
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Examples, Learner
from quickstudy.errors import CheckpointError, InputError, NonFiniteError, unknown_name
from quickstudy.functional import random
from quickstudy.functional.checks import as_device, check_tree, is_tree, row_shapes
from quickstudy.functional.numbers import whole
from quickstudy.nets.taking import as_taken
from quickstudy.operators import trees
from quickstudy.operators.traces import copied
from quickstudy.shipped import pretrained
from quickstudy.sklearn import nearest, rows, saving
from quickstudy.sklearn.head import SupportHead
from quickstudy.storage.checkpoint import load

Array = NDArray[Any]


class FewShotClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Learns to tell classes apart from few examples of each, with a meta-trained learner.

    The learner is never changed: `fit` adapts a copy of it, in evaluation mode, so one learner can serve many
    classifiers. `device` may be changed after fitting.

    Shapes: S rows to learn from, Q rows to predict, D features, N classes.

    Args:
        learner: a meta-trained learner (of `quickstudy.load` or `quickstudy.meta_train`). None needs no meta-training
            and takes any number of features: several classical methods are weighed by how well they predict each row
            of the support from the others (`quickstudy.sklearn.head`), and so are the probabilities calibrated. All
            classes count as equally likely.
        pretrained: in place of a learner, the name of one that comes with the library (`quickstudy.pretrained`), such
            as 'drawings'. Nothing is downloaded.
        device: where to compute; 'auto' is a GPU if there is one.
        batch_size: rows predicted at once. Learners whose queries see each other (`independent_queries` is False)
            predict all rows at once.
        random_state: seed, `RandomState` or None (NumPy's global generator), for learners that draw random numbers to
            adapt (`stochastic`).
        threshold: rows with `score_samples` below it are predicted as `reject`. None rejects no row. -2 rejects rows
            that are more than twice as far from the support as its rows are from each other.
        reject: what `predict` answers for a row that it rejects. None is 'none of these' for labels that are strings,
            and -1 for numbers.

    Attributes:
        classes_: (N,) labels, sorted.
        n_features_in_: D, if X was (S, D).
        feature_names_in_: (D,) names of columns, if X was a data frame with string names.
        input_shape_: shape of one row as the learner sees it; a pytree of shapes where X was one of arrays.
        learner_: the copy of the learner, or the methods that stand in for it.
        state_: what the learner learned from the support.
        gallery_: features of the support's rows, which `nearest` and `score_samples` compare with.

    Examples:
        >>> clf = FewShotClassifier().fit([[0.0, 1.0], [1.0, 0.0]], ["cat", "dog"])
        >>> clf.predict([[0.9, 0.2]]).tolist()
        ['dog']
    """

    def __init__(
        self,
        learner: Learner | None = None,
        *,
        pretrained: str | None = None,
        device: torch.device | str = "auto",
        batch_size: int = 256,
        random_state: int | np.random.RandomState | None = None,
        threshold: float | None = None,
        reject: Any = None,
    ) -> None:
        self.learner = learner
        self.pretrained = pretrained
        self.device = device
        self.batch_size = batch_size
        self.random_state = random_state
        self.threshold = threshold
        self.reject = reject

    @classmethod
    def from_run(
        cls,
        run_dir: str | os.PathLike[str],
        checkpoint: str = "best",
        *,
        learner: Learner | None = None,
        device: torch.device | str = "auto",
        batch_size: int = 256,
        random_state: int | np.random.RandomState | None = None,
    ) -> Self:
        """Return a classifier, not yet fitted, around the meta-trained learner of a run folder.

        Args:
            run_dir: folder that `meta_train` or the command wrote.
            checkpoint: 'best' (by validation) or 'last'; a run without validation has only the last.
            learner: a learner built as for training, needed only where it holds modules of your own. It is copied.
            device: as of the class.
            batch_size: as of the class.
            random_state: as of the class.

        Raises:
            CheckpointError: no run folder, a damaged file, or another learner's weights.
            InputError: unknown name of a checkpoint.
        """
        if checkpoint not in ("best", "last"):
            raise unknown_name("checkpoint", str(checkpoint), ("best", "last"))
        trained = load(run_dir, copy.deepcopy(learner), checkpoint)
        return cls(trained, device=device, batch_size=batch_size, random_state=random_state)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted classifier as one safetensors file, atomically; nothing is pickled.

        Args:
            path: path of the file, '....safetensors'.

        Raises:
            InputError: an argument of the constructor or a label is of a kind that the file cannot hold.
            CheckpointError: the file cannot be written.
            NotFittedError: before `fit`.
        """
        check_is_fitted(self)
        params = {name: value for name, value in self.get_params(deep=False).items() if name != "learner"}
        params["device"] = str(self.device)
        if isinstance(self.random_state, np.random.RandomState):
            params["random_state"] = None  # what it drew is in the state
        facts = {name: value for name, value in vars(self).items() if name.endswith("_")}
        saving.save(path, params, facts)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, learner: Learner | None = None, device: torch.device | str | None = None
    ) -> Self:
        """Return the fitted classifier of a file that `save` wrote. It answers as the one that was saved.

        Args:
            path: path of the file.
            learner: a learner built as for fitting, needed only where it holds modules of your own. It is copied.
            device: where to compute; None takes the one that was saved.

        Raises:
            CheckpointError: there is no such file, it is damaged or of another version, or the learner is another one.
        """
        params, facts = saving.load(path, learner)
        known = set(cls._get_param_names()) - {"learner"}
        needed = {"classes_", "gallery_", "input_shape_", "learner_", "state_"}
        if not set(params) <= known or not needed <= set(facts):
            strange = sorted((set(params) - known) | (needed - set(facts)))
            raise CheckpointError(f"{path} was written by another version of the library: it differs in {strange}")
        without = params.get("pretrained") is not None or isinstance(facts["learner_"], SupportHead)
        classifier = cls(None if without else copy.deepcopy(facts["learner_"]), **params)
        if device is not None:
            classifier.device = device
        classifier.__dict__.update(facts)
        return classifier

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the classes of a support.

        Args:
            X: (S, D) numbers (array, tensor, list, data frame), or rows of any shape that the learner's net takes.
                Images are (S, C, height, width); where the net begins with a 2-D convolution, (S, height, width) and
                (S, height, width, C) do too. `uint8` is scaled to [0, 1], as in meta-training; other numbers are taken
                as they are and cast to the learner's dtype (integers stay integers where the net embeds tokens).
                A dict or tuple of such arrays, each with S rows, is several inputs of each row. Its Booleans and
                integers stay what they are, and its images are (S, C, height, width).
                A data set such as `datasets.images(folder)` returns has its labels, the names of its classes, in it.
            y: (S,) labels: strings, integers or Booleans.

        Returns:
            self

        Raises:
            InputError: X holds NaN or infinity or has a shape that the learner's net does not take, X and y differ in
                length, y holds fewer than two classes or more than the learner can tell apart, or an argument of the
                constructor is no learner, no device or out of range.
        """
        learner, device = self._checked_learner(), as_device(self.device)
        X, y = rows.with_labels(X, y, self)
        several = is_tree(X)
        if several and learner is None:
            raise InputError(
                "X is several arrays, which only a learner's net can take; give FewShotClassifier a learner"
            )
        X, y = X if several else rows.as_array("X", X), rows.as_array("y", y)
        with rows.input_errors():
            if several or rows.ndim(X) > 2:
                X, y = (
                    rows.checked_trees(X, y, self)
                    if several
                    else check_X_y(X, y, dtype="numeric", allow_nd=True, estimator=self)
                )
                for name in ("n_features_in_", "feature_names_in_"):
                    self.__dict__.pop(name, None)  # what an earlier fit to (S, D) has left
            else:
                X, y = validate_data(self, X, y, dtype="numeric")
            rows.check_labels(y)
            try:
                classes, labels = np.unique(y, return_inverse=True)
            except TypeError as error:
                raise InputError(f"y mixes labels that cannot be sorted ({error}); use one kind of label") from error
        if len(classes) < 2:
            raise InputError(f"y holds only one class, '{classes[0]}'; give rows of at least two classes")
        adapted: Learner = SupportHead() if learner is None else copied(learner)
        adapted.to(device).eval()
        inputs = as_taken(X, adapted)
        shape = row_shapes(inputs)
        targets = torch.as_tensor(labels.ravel(), dtype=torch.long, device=device)
        support = Examples(rows.moved(inputs, device), targets, ways=len(classes), check=False)
        key = None
        if adapted.stochastic:
            with rows.input_errors():
                seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
            key = random.key(seed, device)
        with torch.no_grad(), rows.shape_errors(inputs):
            state = adapted.learn(support, key)
            gallery = nearest.gallery(adapted, support)
        self.classes_ = classes
        self.input_shape_ = shape
        self.learner_, self.state_, self.gallery_ = adapted, state, gallery
        return self

    def predict(self, X: Any) -> Array:
        """Return the (Q,) predicted labels of X (Q, ...), rows as those of `fit`; `reject` below the threshold.

        Raises:
            InputError: X holds NaN or infinity, its rows have another shape than in `fit`, or `reject` is a label.
            NonFiniteError: the learner's predictions overflow.
            NotFittedError: before `fit`.
        """
        inputs, learner, device = self._prepared(X)
        logits = self._logits(inputs, learner, device)
        predicted: Array = self.classes_[logits.argmax(1)]
        if self.threshold is None:
            return predicted
        return nearest.rejected(predicted, self._scores(inputs, learner, device, logits) < self.threshold, self)

    def predict_proba(self, X: Any) -> Array:
        """Return the (Q, N) probabilities of the classes, in the order of `classes_`, for X (Q, ...).

        They say which class, if it is one of these; `score_samples` says whether it is.

        Raises:
            InputError: X holds NaN or infinity, or its rows have another shape than in `fit`.
            NonFiniteError: the learner's predictions overflow.
            NotFittedError: before `fit`.
        """
        return torch.softmax(torch.from_numpy(self._logits(*self._prepared(X))), 1).numpy()

    def decision_function(self, X: Any) -> Array:
        """Return the learner's logits (Q, N) for X (Q, ...); for two classes, by convention, (Q,): second minus first.

        Raises:
            InputError: X holds NaN or infinity, or its rows have another shape than in `fit`.
            NonFiniteError: the learner's predictions overflow.
            NotFittedError: before `fit`.
        """
        logits = self._logits(*self._prepared(X))
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def score_samples(self, X: Any) -> Array:
        """Return (Q,) how much each row of X (Q, ...) looks like the support: the lower, the more novel.

        Where the learner embeds rows, and where there is no learner, it is minus the distance to the nearest row of the
        support, in units of the median distance of a support's row to the nearest other. For other learners it is the
        logarithm of the largest probability.

        Raises:
            InputError: X holds NaN or infinity, or its rows have another shape than in `fit`.
            NonFiniteError: the learner's predictions overflow.
            NotFittedError: before `fit`.
        """
        return self._scores(*self._prepared(X))

    def nearest(self, X: Any) -> tuple[Array, Array]:
        """Return which row of the support is most like each row of X (Q, ...), and how far it is: (Q,) and (Q,).

        Rows are numbered as in `fit`. Distances are between the learner's features, in units of the median distance of
        a support's row to the nearest other. Without a learner they are between scaled rows.

        Raises:
            InputError: the learner does not embed rows, or X is not as in `fit`.
            NotFittedError: before `fit`.
        """
        inputs, learner, device = self._prepared(X)
        if self.gallery_ is None:
            raise InputError(f"{type(learner).__name__} embeds no rows, so none is nearest; use one such as ProtoNet")
        with torch.no_grad(), rows.shape_errors(inputs):
            return nearest.neighbours(learner, self.gallery_, inputs, self.batch_size, device)

    def _scores(self, inputs: Any, learner: Learner, device: torch.device, logits: Array | None = None) -> Array:
        if self.gallery_ is not None:
            with torch.no_grad(), rows.shape_errors(inputs):
                return -nearest.neighbours(learner, self.gallery_, inputs, self.batch_size, device)[1]
        logits = self._logits(inputs, learner, device) if logits is None else logits
        largest: Array = torch.log_softmax(torch.from_numpy(logits), 1).amax(1).numpy()
        return largest

    def _prepared(self, X: Any) -> tuple[Any, Learner, torch.device]:
        """Return X as the learner's net takes it, the learner, and the device."""
        check_is_fitted(self)
        device = as_device(self.device)
        several = is_tree(X)
        X = X if several else rows.as_array("X", X)
        with rows.input_errors():
            if several:
                X = rows.checked_tree(X, self)
            elif rows.ndim(X) > 2:
                X = check_array(X, dtype="numeric", allow_nd=True, estimator=self, input_name="X")
            else:
                X = validate_data(self, X, reset=False, dtype="numeric")
        learner = rows.on_device(self.learner_, device)
        inputs = as_taken(X, learner)
        if row_shapes(inputs) != self.input_shape_ and not rows.of_another_size(inputs, self.input_shape_, learner):
            raise InputError(
                f"X has rows of shape {row_shapes(inputs)} but the classifier was fitted to rows of shape "
                f"{self.input_shape_}; give such rows (one alone as X[None])"
            )
        return inputs, learner, device

    def _logits(self, inputs: Any, learner: Learner, device: torch.device) -> Array:
        state = trees.map_only(Tensor, lambda leaf: leaf.to(device), self.state_)
        count = check_tree(inputs, "X")
        size = self.batch_size if learner.independent_queries else count
        with torch.no_grad(), rows.shape_errors(inputs):
            parts = [
                learner.predict(state, rows.moved(batching.select(inputs, slice(start, start + size)), device))
                for start in range(0, count, size)
            ]
        logits = torch.cat([part.double().cpu() for part in parts])
        if logits.shape != (count, len(self.classes_)):
            raise InputError(
                f"the learner predicts {tuple(logits.shape)} for {count} rows of {len(self.classes_)} classes, "
                "so it is not one that classifies rows; choose another learner"
            )
        # A logit may be minus infinity, a probability of zero, but not all of a row.
        bad = ~torch.isfinite(logits.amax(1))
        if bool(bad.any()):
            raise NonFiniteError(
                f"the learner predicts NaN or infinity, first for row {int(bad.nonzero()[0])} of X; scale X and choose "
                "the inner learning rate as in meta-training"
            )
        return logits.numpy()

    def _checked_learner(self) -> Learner | None:
        whole("batch_size", self.batch_size)
        if self.learner is not None and not isinstance(self.learner, Learner):
            raise InputError(
                f"learner must be a quickstudy learner, such as quickstudy.load(run_dir) returns, or None, not "
                f"{self.learner!r}; for the folder of a run use FewShotClassifier.from_run(run_dir)"
            )
        if self.pretrained is None:
            return self.learner
        if self.learner is not None:
            raise InputError("give a learner or the name of a pretrained one, not both")
        return pretrained(self.pretrained)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: everything on the CPU, so that a machine without this device can read it."""
        facts: dict[str, Any] = dict(super().__getstate__())
        for name in ("learner", "learner_"):
            learner = facts.get(name)
            if isinstance(learner, Learner) and any(tensor.device.type != "cpu" for tensor in rows.tensors_of(learner)):
                facts[name] = copy.deepcopy(learner).cpu()
        if "state_" in facts:
            facts["state_"] = trees.map_only(Tensor, lambda leaf: leaf.cpu(), facts["state_"])
        return facts

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.non_deterministic = bool(getattr(self.learner, "stochastic", False)) and self.random_state is None
        return tags
