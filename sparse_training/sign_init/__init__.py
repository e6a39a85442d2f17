"""Which signs to start from: methods that look at a little data and set nothing but signs."""

from sparse_training.sign_init import bottom_up as _bottom_up  # noqa: F401  (each enters its methods in the registry)
from sparse_training.sign_init import even as _even  # noqa: F401
from sparse_training.sign_init import trials as _trials  # noqa: F401
from sparse_training.sign_init.base import GRADIENT, SIGN_INITS, Found, Probe, find_signs, set_signs

__all__ = ["GRADIENT", "SIGN_INITS", "Found", "Probe", "find_signs", "set_signs"]
