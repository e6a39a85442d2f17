"""Figures, tables and the report, read from result files."""

from commons.version import __version__ as __version__
