"""What every room shares and that knows none of them: checked arguments, one-line errors, files written whole.

It never imports another room, and nothing here is about signs or sparsity.
"""

from commons.checks import InputError, broadcast, choice, finite, nearest, number, refuse

__all__ = ["InputError", "broadcast", "choice", "finite", "nearest", "number", "refuse"]
