"""Few-shot classification as a scikit-learn estimator (being written)."""


class FewShotClassifier:
    """Placeholder while the package is assembled."""
