"""Tasks: Gymnasium environments, each with its reward, termination and encoding as batched torch functions.

None is here yet. A plan needs only the functions; see `elites.agents.MPC`.
"""
