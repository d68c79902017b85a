"""Model-based learners: the task is learned in activations (a memory, a hidden state, generated or fast weights)."""

__all__: list[str] = []
