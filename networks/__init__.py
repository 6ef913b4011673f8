"""Batched networks: what they look like, what computes them, and the policies and critics that are made of them."""
