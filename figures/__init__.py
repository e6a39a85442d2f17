"""Figures, tables and the report, read from result files."""
