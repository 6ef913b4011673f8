"""Who plays a generation of policies: this process, processes on this machine, or actors of Ray."""

from elites.runs.workers.crew import Crew, Here, crew_of
from elites.runs.workers.player import Generation, Player, Task

__all__ = ["Crew", "Generation", "Here", "Player", "Task", "crew_of"]
