"""What the numbered theorems rest on and what sharpens them, one subject a file, each statement with its proof.

The three theorems of the paper are in `theory.theorems`.
"""
