"""Networks of the experiments, by name, with torchvision's and timm's state-dict names and parameter counts.

No network here knows of masks or signs, and building one leaves the global random state as it was.
"""

from sparse_training.models.registry import INPUTS, MODELS, Factory, build

__all__ = ["INPUTS", "MODELS", "Factory", "build"]
