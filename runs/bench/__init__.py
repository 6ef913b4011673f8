"""How long one plan takes and what memory it needs, here and in other libraries: what `elites bench` compares.

All plan through one model, for one reward, from the same observations. Each has a process of its own; they plan one at
a time, in turn, so that a noisy machine hits all alike. What the columns mean: docs/performance/plans.md.

`transitions`, `trainers` and `foresight` are for models: what benchmarks/models.py compares (docs/results/models.md).
"""
