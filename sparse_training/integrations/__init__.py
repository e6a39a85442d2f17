"""Sparse training inside other people's loops: callbacks for Lightning and transformers, and measures for any logger.

Each framework's callback lies in a module of its own, which imports the framework: `integrations.lightning` and
`integrations.transformers`.
"""

from sparse_training.integrations.measures import Measures
from sparse_training.integrations.session import Session

__all__ = ["Measures", "Session"]
