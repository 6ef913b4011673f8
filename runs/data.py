"""Recorded transitions: from the replay of a run, or from a Minari dataset; and a run's replay as such a dataset."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from elites.agents import Agent, Transition
from elites.agents.learner import Array
from elites.runs import checkpoint, kinds

MINARI = "minari:"  # the prefix of a dataset's id


class Recorded(NamedTuple):
    """An episode, or a part of one, in the environment's own terms."""

    observation: Array  # (T, S)
    action: Array  # (T, *A)
    reward: Array  # (T)
    next_observation: Array  # (T, S)
    terminated: Array  # (T) bool
    truncated: Array  # (T) bool


def recorded(source: str) -> Iterator[Recorded]:
    """The episodes of a run's folder, or of `minari:ID`."""
    return of_minari(source.removeprefix(MINARI)) if source.startswith(MINARI) else of_run(Path(source))


def of_run(folder: Path) -> Iterator[Recorded]:
    settings, saved = kinds.settings_of(folder), folder / "checkpoints"
    agent = settings.make_agent(settings.make_environment())
    if not isinstance(agent, Agent) or not checkpoint.written(saved):
        raise ValueError(f"{folder}: expected a run of `elites learn` with a checkpoint")
    agent.replay.load_state_dict(checkpoint.newest(saved, warnings.warn)["agent"]["replay"])
    for episode in agent.replay.episodes():
        columns = (episode.reward, episode.next_state, episode.terminated, episode.truncated)
        yield Recorded(
            episode.state.cpu().numpy(), agent.spaces.to_env(episode.action), *(x.cpu().numpy() for x in columns)
        )


def of_minari(name: str) -> Iterator[Recorded]:
    for episode in dataset(name).iterate_episodes():
        seen = np.asarray(episode.observations)
        ends = (np.asarray(x, bool) for x in (episode.terminations, episode.truncations))
        yield Recorded(seen[:-1], np.asarray(episode.actions), np.asarray(episode.rewards), seen[1:], *ends)


def dataset(name: str) -> Any:
    """A Minari dataset on this machine, or downloaded."""
    minari = library()
    try:
        return minari.load_dataset(name, download=name not in minari.list_local_datasets())
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(f"{MINARI}{name}: expected a Minari dataset, here or in its collection: {reason}") from None


def library() -> Any:
    try:
        import minari
    except ImportError:
        raise ValueError(f'{MINARI}…: it needs pip install "elites[minari]"') from None
    return minari


def fill(agent: Agent, source: str) -> None:
    """Puts all transitions of a source into an agent's replay. Raises a ValueError if they do not fit the agent."""
    algorithm, whole = agent.algorithm, 0
    if algorithm.on_policy:
        name = type(algorithm).__name__
        raise ValueError(f"{source}: {name} learns from its own last steps alone, and cannot learn from data")
    if "log_density" in agent.replay.schema:
        raise ValueError(f"{source}: expected densities of its actions, which retrace needs, found none")
    for episode in recorded(source):
        _check(agent, episode, source)
        agent.replay.begin(0)
        agent.observe(Transition(*episode, np.zeros(len(episode.reward), int)))
        whole += bool(episode.terminated[-1] or episode.truncated[-1])
    if not agent.replay.total:
        raise ValueError(f"{source}: expected transitions, found none")
    if algorithm.by_episode and not whole:
        raise ValueError(f"{source}: expected episodes that end, which {type(algorithm).__name__} needs, found none")


def _check(agent: Agent, episode: Recorded, source: str) -> None:
    world = agent.spaces.world
    states = (len(episode.reward), agent.spaces.state_size)
    actions = (len(episode.reward), *world.to_env(world.centre).shape)
    for name, found, expected in (
        ("observations", episode.observation, states),
        ("actions", episode.action, actions),
        ("next observations", episode.next_observation, states),
    ):
        if found.shape != expected:
            raise ValueError(
                f"{source}: expected {name} of shape {expected[1:]}, as in the environment, got {found.shape[1:]}"
            )
    for name, column in zip(episode._fields[:4], episode[:4], strict=True):
        if not np.isfinite(column).all():
            raise ValueError(f"{source}: expected finite numbers, got NaN or infinity in a column {name!r}")


def export(folder: Path, name: str, env: Any) -> int:
    """Writes a run's replay as a Minari dataset with this id. Returns the number of its transitions."""
    minari = library()
    from minari.data_collector import EpisodeBuffer

    episodes = list(of_run(folder))
    buffers = []
    for number, episode in enumerate(episodes):
        truncated = episode.truncated.copy()
        truncated[-1] |= not episode.terminated[-1]  # Minari has no episodes that go on
        buffers.append(
            EpisodeBuffer(
                id=number,
                observations=[*episode.observation, episode.next_observation[-1]],
                actions=list(episode.action),
                rewards=episode.reward.tolist(),
                terminations=episode.terminated.tolist(),
                truncations=truncated.tolist(),
                infos={},
            )
        )
    if name in minari.list_local_datasets():
        raise ValueError(f"{MINARI}{name}: a dataset of this name is there already")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it would like to know more of the author
        minari.create_dataset_from_buffers(name, buffers, env=env, algorithm_name=folder.resolve().name)
    return sum(len(episode.reward) for episode in episodes)


def normalised(source: str, score: float) -> float | None:
    """A return in units of the dataset's reference scores: 0 is its lower one, 1 its upper one. None without them."""
    if not source.startswith(MINARI):
        return None
    metadata = dataset(source.removeprefix(MINARI)).storage.metadata
    low, high = metadata.get("ref_min_score"), metadata.get("ref_max_score")
    return None if low is None or high is None else (score - float(low)) / (float(high) - float(low))
