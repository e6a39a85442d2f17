"""How a weight is written or stepped: Sign-In, UnitSpeed, HAM, spred, PILoT, and scalings as their controls.

`sparsify` puts them on a network.
"""

from commons.registry import Registry, subclass_of
from sparse_training.reparam.base import Reparam, TwoFactors
from sparse_training.reparam.building import sparsify
from sparse_training.reparam.factors import Factors
from sparse_training.reparam.ham import HAM
from sparse_training.reparam.layer import Layer
from sparse_training.reparam.pilot import PILoT
from sparse_training.reparam.rescaling import rescale
from sparse_training.reparam.scaling import SCALINGS, LayerRates, RootDensity, Scaling, SparseOpt
from sparse_training.reparam.sign_in import SignIn
from sparse_training.reparam.sparse import Sparse
from sparse_training.reparam.spred import Spred
from sparse_training.reparam.unit_speed import UnitSpeed

REPARAMS: Registry[type[Reparam]] = Registry(
    "a subclass of Reparam",
    {reparam.name: reparam for reparam in (SignIn, HAM, Spred, PILoT, UnitSpeed)},
    accept=subclass_of(Reparam),
)

__all__ = [
    "HAM",
    "REPARAMS",
    "SCALINGS",
    "Factors",
    "Layer",
    "LayerRates",
    "PILoT",
    "Reparam",
    "RootDensity",
    "Scaling",
    "SignIn",
    "Sparse",
    "SparseOpt",
    "Spred",
    "TwoFactors",
    "UnitSpeed",
    "rescale",
    "sparsify",
]
