"""The training loop and what it needs: set-up, passes, states that a killed run goes on from, several processes."""

from sparse_training.training.loop import NonFiniteError, PreemptedError, Summary, train

__all__ = ["NonFiniteError", "PreemptedError", "Summary", "train"]
