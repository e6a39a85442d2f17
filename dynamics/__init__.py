"""Integration of what theory/ states."""
