"""How a weight is written or stepped: Sign-In, and HAM, spred and PILoT beside it; `sparsify` puts one on a network."""

from commons.registry import Registry, subclass_of
from sparse_training.reparam.base import Reparam
from sparse_training.reparam.building import sparsify
from sparse_training.reparam.factors import Factors
from sparse_training.reparam.ham import HAM
from sparse_training.reparam.layer import Layer
from sparse_training.reparam.pilot import PILoT
from sparse_training.reparam.sign_in import SignIn
from sparse_training.reparam.sparse import Sparse
from sparse_training.reparam.spred import Spred

REPARAMS: Registry[type[Reparam]] = Registry(
    "a subclass of Reparam",
    {reparam.name: reparam for reparam in (SignIn, HAM, Spred, PILoT)},
    accept=subclass_of(Reparam),
)

__all__ = ["HAM", "REPARAMS", "Factors", "Layer", "PILoT", "Reparam", "SignIn", "Sparse", "Spred", "sparsify"]
