"""`elites bench`: how long one plan takes and what memory it needs, here and in other libraries.

Every contender plans through the same model, for the same reward, from the same observations. Each has its own process.
They take turns and plan one at a time, so a noisy machine slows all of them equally. docs/performance/plans.md explains
the columns.

benchmarks/models.py compares models with `transitions`, `trainers` and `foresight` (docs/results/models.md).
"""
