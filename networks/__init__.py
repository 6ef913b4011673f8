"""Batched networks, and what computes them."""
