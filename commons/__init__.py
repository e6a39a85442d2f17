"""What every room shares and that knows none of them: checked arguments, one-line errors, files written whole.

It never imports another room, and nothing here is about signs or sparsity.
"""

from commons.checks import InputError, broadcast, choice, finite, nearest, number, refuse
from commons.version import __version__

__all__ = ["InputError", "__version__", "broadcast", "choice", "finite", "nearest", "number", "refuse"]
