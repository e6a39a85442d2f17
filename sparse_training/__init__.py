"""Sparse training of any torch.nn.Module: masks, reparametrizations, methods, signs, transplants and sharpness.

Importing it loads nothing heavy: each name is imported from its home when it is first used.
"""

import importlib
from typing import TYPE_CHECKING

from commons.version import __version__ as __version__

if TYPE_CHECKING:
    from sparse_training.masks import Masks as Masks
    from sparse_training.masks import make_masks as make_masks
    from sparse_training.masks import prunable as prunable
    from sparse_training.reparam import HAM as HAM
    from sparse_training.reparam import PILoT as PILoT
    from sparse_training.reparam import SignIn as SignIn
    from sparse_training.reparam import Sparse as Sparse
    from sparse_training.reparam import Spred as Spred
    from sparse_training.reparam import sparsify as sparsify
    from sparse_training.runs import Config as Config
    from sparse_training.runs import Run as Run
    from sparse_training.runs import load_network as load_network
    from sparse_training.runs import save_network as save_network
    from sparse_training.sharpness import HessianOperator as HessianOperator
    from sparse_training.sharpness import max_eigenvalue as max_eigenvalue
    from sparse_training.sign_init import find_signs as find_signs
    from sparse_training.sign_init import set_signs as set_signs
    from sparse_training.signs import SignTracker as SignTracker
    from sparse_training.training import NonFiniteError as NonFiniteError
    from sparse_training.training import PreemptedError as PreemptedError
    from sparse_training.training import Summary as Summary
    from sparse_training.training import train as train

_HOME = {
    "masks": ["Masks", "make_masks", "prunable"],
    "reparam": ["HAM", "PILoT", "SignIn", "Sparse", "Spred", "sparsify"],
    "runs": ["Config", "Run", "load_network", "save_network"],
    "sharpness": ["HessianOperator", "max_eigenvalue"],
    "sign_init": ["find_signs", "set_signs"],
    "signs": ["SignTracker"],
    "training": ["NonFiniteError", "PreemptedError", "Summary", "train"],
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE)


def __getattr__(name: str) -> object:
    if name not in _MODULE:
        raise AttributeError(f"module 'sparse_training' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sparse_training.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
