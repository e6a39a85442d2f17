"""How a weight is written or stepped: Sign-In, and HAM, spred and PILoT beside it; `sparsify` puts one on a network.

No reparametrization knows a schedule or a mask's origin.
"""

from commons.registry import Registry, subclass_of
from sparse_training.reparam.base import Factors, Reparam
from sparse_training.reparam.ham import HAM
from sparse_training.reparam.pilot import PILoT
from sparse_training.reparam.sign_in import SignIn
from sparse_training.reparam.sparse import Layer, Sparse, sparsify
from sparse_training.reparam.spred import Spred

REPARAMS: Registry[type[Reparam]] = Registry(
    "a subclass of Reparam",
    {reparam.name: reparam for reparam in (SignIn, HAM, Spred, PILoT)},
    accept=subclass_of(Reparam),
)

__all__ = ["HAM", "REPARAMS", "Factors", "Layer", "PILoT", "Reparam", "SignIn", "Sparse", "Spred", "sparsify"]
