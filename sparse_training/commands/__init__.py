"""The commands, one a file with `register(subparsers)`; heavy imports wait until a command runs.

They parse, call and print; what they call computes.
"""
