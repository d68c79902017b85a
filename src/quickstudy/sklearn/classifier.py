"""Few-shot classification as a scikit-learn estimator.

    clf = FewShotClassifier.from_run("runs/maml").fit(X, y)     # adapt to a support of labelled rows
    clf.predict_proba(X_new)                                    # predict queries

One estimator is one task: `fit` is the learner's `adapt`, `predict` its `predict`. It follows scikit-learn's
conventions, so it can be cloned, pickled, put into a pipeline, cross-validated and searched over.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_consistent_length, check_random_state, check_X_y, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from quickstudy import batching
from quickstudy.core import Examples, Learner
from quickstudy.errors import CheckpointError, InputError, NonFiniteError, unknown_name
from quickstudy.functional import random
from quickstudy.functional.checks import as_array, as_device, check_tree, is_tree, over_arrays, row_shapes
from quickstudy.functional.numbers import whole
from quickstudy.learners import ProtoNet
from quickstudy.nets.taking import as_taken
from quickstudy.operators import trees
from quickstudy.operators.traces import copied
from quickstudy.shipped import pretrained
from quickstudy.sklearn import saving
from quickstudy.sklearn.rows import input_errors, moved, ndim, shape_errors, standardised
from quickstudy.storage.checkpoint import load

Array = NDArray[Any]


class FewShotClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Learns to tell classes apart from few examples of each, with a meta-trained learner.

    The learner is never changed: `fit` adapts a copy of it, in evaluation mode, so one learner can serve many
    classifiers. `device` may be changed after fitting.

    Shapes: S rows to learn from, Q rows to predict, D features, N classes.

    Args:
        learner: a meta-trained learner (of `quickstudy.load` or `quickstudy.meta_train`). None needs no meta-training
            and takes any number of features: each feature is standardised by its mean and variance over the support,
            and a `ProtoNet` without an embedding takes the nearest class mean. With many features its probabilities
            are close to 0 and 1.
        pretrained: in place of a learner, the name of one that comes with the library (`quickstudy.pretrained`), such
            as 'drawings'. Nothing is downloaded.
        device: where to compute.
        batch_size: rows predicted at once. Learners whose queries see each other (`independent_queries` is False)
            predict all rows at once.
        random_state: seed, `RandomState` or None (NumPy's global generator), for learners that draw random numbers to
            adapt (`stochastic`).

    Attributes:
        classes_: (N,) labels, sorted.
        n_features_in_: D, if X was (S, D).
        feature_names_in_: (D,) names of columns, if X was a data frame with string names.
        input_shape_: shape of one row as the learner sees it; a pytree of shapes where X was one of arrays.
        scaler_: what standardises features, if there is no learner; else None.
        learner_: the copy of the learner.
        state_: what the learner learned from the support.

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
        device: torch.device | str = "cpu",
        batch_size: int = 256,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.learner = learner
        self.pretrained = pretrained
        self.device = device
        self.batch_size = batch_size
        self.random_state = random_state

    @classmethod
    def from_run(
        cls,
        run_dir: str | os.PathLike[str],
        checkpoint: str = "best",
        *,
        learner: Learner | None = None,
        device: torch.device | str = "cpu",
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
        facts = {name: value for name, value in vars(self).items() if name.endswith("_") and value is not None}
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
        needed = {"classes_", "input_shape_", "learner_", "state_"}
        if not set(params) <= known or not needed <= set(facts):
            strange = sorted((set(params) - known) | (needed - set(facts)))
            raise CheckpointError(f"{path} was written by another version of the library: it differs in {strange}")
        of_a_name = params.get("pretrained") is not None
        classifier = cls(None if of_a_name else copy.deepcopy(facts["learner_"]), **params)
        if device is not None:
            classifier.device = device
        classifier.__dict__.update({"scaler_": None} | facts)
        return classifier

    def fit(self, X: Any, y: Any) -> Self:
        """Learn the classes of a support.

        Args:
            X: (S, D) numbers (array, tensor, list, data frame), or rows of any shape that the learner's net takes.
                Images are (S, C, height, width); where the net begins with a 2-D convolution, (S, height, width) and
                (S, height, width, C) do too. `uint8` is scaled to [0, 1], as in meta-training; other numbers are taken
                as they are and cast to the learner's dtype (integers stay integers where the net embeds tokens).
                A dict or tuple of such arrays, each with S rows, is several inputs of each row. Its Booleans and
                integers stay what they are, and its images are (S, C, height, width).
            y: (S,) labels: strings, integers or Booleans.

        Returns:
            self

        Raises:
            InputError: X holds NaN or infinity or has a shape that the learner's net does not take, X and y differ in
                length, y holds fewer than two classes or more than the learner can tell apart, or an argument of the
                constructor is no learner, no device or out of range.
        """
        learner, device = self._checked_learner(), self._checked_device()
        several = is_tree(X)
        if several and learner is None:
            raise InputError(
                "X is several arrays, which only a learner's net can take; give FewShotClassifier a learner"
            )
        X, y = X if several else as_array(X, "X"), as_array(y, "y")
        with input_errors():
            if several or ndim(X) > 2:
                X, y = (
                    self._checked_trees(X, y)
                    if several
                    else check_X_y(X, y, dtype="numeric", allow_nd=True, estimator=self)
                )
                for name in ("n_features_in_", "feature_names_in_"):
                    self.__dict__.pop(name, None)  # what an earlier fit to (S, D) has left
            else:
                X, y = validate_data(self, X, y, dtype="numeric")
            try:
                # Thrice, for one example of each class, which is what this is for, would be warned of as too few.
                check_classification_targets(np.concatenate([y, y, y]))
                classes, labels = np.unique(y, return_inverse=True)
            except TypeError as error:
                raise InputError(f"y mixes labels that cannot be sorted ({error}); use one kind of label") from error
        if len(classes) < 2:
            raise InputError(f"y holds only one class, '{classes[0]}'; give rows of at least two classes")
        adapted = ProtoNet(nn.Flatten()) if learner is None else copied(learner)
        adapted.to(device).eval()
        inputs = as_taken(X, adapted)
        shape = row_shapes(inputs)
        scaler = StandardScaler().fit(inputs.flatten(1).numpy()) if learner is None else None
        inputs = standardised(inputs, scaler)
        targets = torch.as_tensor(labels.ravel(), dtype=torch.long, device=device)
        support = Examples(moved(inputs, device), targets, ways=len(classes), check=False)
        key = None
        if adapted.stochastic:
            with input_errors():
                seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
            key = random.key(seed, device)
        with torch.no_grad(), shape_errors(inputs):
            state = adapted.learn(support, key)
        self.classes_ = classes
        self.input_shape_ = shape
        self.scaler_, self.learner_, self.state_ = scaler, adapted, state
        return self

    def predict(self, X: Any) -> Array:
        """Return the (Q,) predicted labels of X (Q, ...), rows as those of `fit`.

        Raises:
            InputError: X holds NaN or infinity, or its rows have another shape than in `fit`.
            NonFiniteError: the learner's predictions overflow.
            NotFittedError: before `fit`.
        """
        labels: Array = self._logits(X).argmax(1)
        predicted: Array = self.classes_[labels]
        return predicted

    def predict_proba(self, X: Any) -> Array:
        """Return the (Q, N) probabilities of the classes, in the order of `classes_`, for X (Q, ...).

        Raises:
            InputError: X holds NaN or infinity, or its rows have another shape than in `fit`.
            NonFiniteError: the learner's predictions overflow.
            NotFittedError: before `fit`.
        """
        return torch.softmax(torch.from_numpy(self._logits(X)), 1).numpy()

    def decision_function(self, X: Any) -> Array:
        """Return the learner's logits (Q, N) for X (Q, ...); for two classes, by convention, (Q,): second minus first.

        Raises:
            InputError: X holds NaN or infinity, or its rows have another shape than in `fit`.
            NonFiniteError: the learner's predictions overflow.
            NotFittedError: before `fit`.
        """
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def _logits(self, X: Any) -> Array:
        check_is_fitted(self)
        device = self._checked_device()
        several = is_tree(X)
        X = X if several else as_array(X, "X")
        with input_errors():
            if several:
                X = self._checked_tree(X)
            elif ndim(X) > 2:
                X = check_array(X, dtype="numeric", allow_nd=True, estimator=self, input_name="X")
            else:
                X = validate_data(self, X, reset=False, dtype="numeric")
        learner = self.learner_
        if any(tensor.device.type != device.type for tensor in _tensors(learner)):
            learner.to(device)  # other threads may predict, so only where it must be
        inputs = as_taken(X, learner)
        if row_shapes(inputs) != self.input_shape_:
            raise InputError(
                f"X has rows of shape {row_shapes(inputs)} but the classifier was fitted to rows of shape "
                f"{self.input_shape_}; give such rows (one alone as X[None])"
            )
        inputs = standardised(inputs, self.scaler_)
        state = trees.map_only(Tensor, lambda leaf: leaf.to(device), self.state_)
        rows = check_tree(inputs, "X")
        size = self.batch_size if learner.independent_queries else rows
        with torch.no_grad(), shape_errors(inputs):
            parts = [
                learner.predict(state, moved(batching.select(inputs, slice(start, start + size)), device))
                for start in range(0, rows, size)
            ]
        logits = torch.cat([part.double().cpu() for part in parts])
        if logits.shape != (rows, len(self.classes_)):
            raise InputError(
                f"the learner predicts {tuple(logits.shape)} for {rows} rows of {len(self.classes_)} classes, "
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

    def _checked_trees(self, X: Any, y: Any) -> tuple[Any, Any]:
        X, y = self._checked_tree(X), column_or_1d(y, warn=True)
        check_consistent_length(*trees.leaves(X), y)
        if y.dtype.kind in "fc":
            check_array(y, ensure_2d=False, input_name="y")  # NaN is no label
        return X, y

    def _checked_tree(self, X: Any) -> Any:
        """Return a pytree of arrays of finite numbers, as scikit-learn checks single ones."""

        def checked(value: Any, path: str) -> Array:
            array: Array = check_array(
                as_array(value, path), dtype="numeric", allow_nd=True, ensure_2d=False, estimator=self, input_name=path
            )
            if not array.ndim:
                raise InputError(f"{path} is a single number; give one row per example")
            return array

        return over_arrays(checked, X, "X")

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

    def _checked_device(self) -> torch.device:
        return as_device(self.device)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: everything on the CPU, so that a machine without this device can read it."""
        facts: dict[str, Any] = dict(super().__getstate__())
        for name in ("learner", "learner_"):
            learner = facts.get(name)
            if isinstance(learner, Learner) and any(tensor.device.type != "cpu" for tensor in _tensors(learner)):
                facts[name] = copy.deepcopy(learner).cpu()
        if "state_" in facts:
            facts["state_"] = trees.map_only(Tensor, lambda leaf: leaf.cpu(), facts["state_"])
        return facts

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.non_deterministic = bool(getattr(self.learner, "stochastic", False)) and self.random_state is None
        return tags


def _tensors(learner: Learner) -> Iterator[Tensor]:
    yield from learner.parameters()
    yield from learner.buffers()
