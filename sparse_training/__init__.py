"""Sparse training of any torch.nn.Module."""
