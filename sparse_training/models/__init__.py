"""Networks of the experiments, with torchvision's and timm's state-dict names and parameter counts, and a GPT.

`resnet20()` and the others are called as torchvision's are: for the published input and number of classes by default.
`build` takes a name and a seed and leaves the global random state as it was.
"""

from sparse_training.models.decoder import GPT, gpt, gpt_small, gpt_tied
from sparse_training.models.registry import MODELS, Factory, build, published_sizes
from sparse_training.models.resnet import resnet18, resnet20, resnet50
from sparse_training.models.small import cnn, mlp
from sparse_training.models.vit import deit_small

__all__ = [
    "GPT",
    "MODELS",
    "Factory",
    "build",
    "cnn",
    "deit_small",
    "gpt",
    "gpt_small",
    "gpt_tied",
    "mlp",
    "published_sizes",
    "resnet18",
    "resnet20",
    "resnet50",
]
