from .classifier import FewShotClassifier as FewShotClassifier
