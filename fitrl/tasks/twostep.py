"""Two-step tasks: a first choice leads to a state, and the state (with a second choice) to an outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from fitrl.errors import DataError
from fitrl.tasks.task import Column, Task
from fitrl.tasks.twostep_worlds import (
    KoolWorld,
    TwoStepWorld,
    play_kool,
    play_two_step,
    replay_kool,
    replay_two_step,
)
from fitrl.tasks.world import World

if TYPE_CHECKING:
    import pandas as pd

Columns = dict[str, np.ndarray]
Codings = dict[str, tuple[str, ...]]

_OUTCOME = Column("outcome", "outcome", "what followed; blank if none was shown", aliases=("reward", "feedback"))

# Below this share of agreement, over this many trials, the two states are taken to be numbered the wrong way round.
_REVERSED, _ENOUGH = 0.4, 20

# A state that follows a first choice less often than this is not its common one: 70 % are usual, 50 % are none.
_COMMON = 0.6


@dataclass(frozen=True)
class TwoStep(Task):
    """The two-step task of Daw et al. 2011: two options, two states with two options each, uncertain transitions.

    Attributes
    ----------
    n_options : int
        Options of the first stage, 2.
    numbered_through : str
        What of the second stage was worked out from ``choice2``, in words, where the file numbers its four options
        through; empty if nothing was.

    Notes
    -----
    Code 0 of ``state2`` is the state that is common after code 0 of ``choice1``; a transition is common where
    ``state2 == choice1``. ``choice2`` counts within its state. Files that number the four options of the second stage
    through (as hBayesDM does, 1 and 2 in the first state) need no column ``state2``.

    References
    ----------
    Daw et al. 2011, Neuron, 10.1016/j.neuron.2011.02.027.
    """

    columns: ClassVar[tuple[Column, ...]] = (
        Column("choice1", "choice", "first choice; blank if there was no response", aliases=("level1_choice",)),
        Column("state2", "cue", "state that it led to; the first is common after the first option", False),
        Column(
            "choice2",
            "choice",
            "second choice, within its state or of all four options; blank if there was no response",
            aliases=("level2_choice",),
        ),
        _OUTCOME,
        Column(
            "payoff_#",
            "payoff",
            "probability that option # of the four pays, those of the first state first",
            False,
        ),
    )

    numbered_through: str = field(default="", kw_only=True, compare=False)

    def facts(self, frame: pd.DataFrame) -> dict[str, str]:  # noqa: D102
        found = {"transitions": _transitions(self, frame)}
        return found | ({"second stage": self.numbered_through} if self.numbered_through else {})

    def doubts(self, frame: pd.DataFrame) -> tuple[str, ...]:  # noqa: D102
        return _doubtful_transitions(self, frame)

    @classmethod
    def configured(  # noqa: D102
        cls, columns: Mapping[str, np.ndarray], codings: Mapping[str, tuple[str, ...]], outcome_range: tuple
    ) -> tuple[Self, Columns, Codings]:
        columns, codings = dict(columns), dict(codings)
        _need(codings, "choice1", 2)
        through = ""
        if len(codings["choice2"]) == 4:
            through = _second_stage(columns, codings)
        _need(codings, "choice2", 2)
        if "state2" not in columns:
            raise DataError(
                "the state2 column is missing, and choice2 has two options, so it is not known which state they were "
                'chosen in. Name the column with --column state2=NAME (in Python columns={"state2": "NAME"}), or '
                "number the options of the second stage through: 1 and 2 in the first state, 3 and 4 in the second."
            )
        _need(codings, "state2", 2)
        _check_direction(columns, codings)
        task = cls(2, codings["choice1"], outcome_range, codings=codings, numbered_through=through)
        return task, columns, codings

    @classmethod
    def play(  # noqa: D102
        cls, n_trials: int, n_agents: int, rng: np.random.Generator, *, environment: Any = None, **settings: Any
    ) -> tuple[Task, TwoStepWorld]:
        codings: Codings = dict.fromkeys(("choice1", "state2", "choice2"), ("1", "2"))
        world = play_two_step(n_trials, n_agents, rng, environment=environment, **settings)
        return cls(2, codings["choice1"], world.outcome_range, codings=codings), world

    def replay(  # noqa: D102
        self, columns: Mapping[str, np.ndarray], copies: int, rng: np.random.Generator, *, environment: Any = None
    ) -> World:
        return replay_two_step(self, columns, copies, rng, environment)


@dataclass(frozen=True)
class TwoStepKool(Task):
    """The two-step task of Kool et al. 2016: two start states that share two goal states; transitions are certain.

    Attributes
    ----------
    n_options : int
        Options of the first stage over both start states, 4; two of them are on offer in a trial.
    leads_to : tuple of int
        State that each option leads to.
    has_sides : bool
        Whether it is known which option stood on the left (column ``left``), and so which key was pressed.

    References
    ----------
    Kool, Cushman & Gershman 2016, PLoS Comput Biol, 10.1371/journal.pcbi.1005090.
    """

    columns: ClassVar[tuple[Column, ...]] = (
        Column("state1", "cue", "start state", False),
        Column("choice1", "choice", "the option chosen, within its start state or of all four; blank if missed"),
        Column("left", "cue", "the option that stood on the left", False, ("stim_left",)),
        Column("state2", "cue", "goal state that it led to"),
        _OUTCOME,
        Column("payoff_#", "payoff", "what goal state # pays in this trial, visited or not", False),
    )

    leads_to: tuple[int, ...] = (0, 1, 0, 1)
    has_sides: bool = False

    def offered(self, choice: str) -> int | None:  # noqa: D102
        return 2

    def facts(self, frame: pd.DataFrame) -> dict[str, str]:  # noqa: D102
        return {"transitions": _transitions(self, frame)}

    @classmethod
    def configured(  # noqa: D102
        cls, columns: Mapping[str, np.ndarray], codings: Mapping[str, tuple[str, ...]], outcome_range: tuple
    ) -> tuple[Self, Columns, Codings]:
        columns, codings = dict(columns), dict(codings)
        if "left" in columns:
            columns["left"] = _recoded(columns["left"], codings["left"], codings["choice1"])
            codings["left"] = codings["choice1"]
        _first_stage(columns, codings)
        _need(codings, "state2", 2)
        first = 2 * columns["state1"]
        columns |= {"offer_1": first, "offer_2": first + 1}
        task = cls(
            4,
            codings["choice1"],
            outcome_range,
            codings=codings,
            leads_to=_certain_transitions(columns, codings),
            has_sides="left" in columns,
        )
        return task, columns, codings

    @classmethod
    def play(  # noqa: D102
        cls, n_trials: int, n_agents: int, rng: np.random.Generator, *, environment: Any = None, **settings: Any
    ) -> tuple[Task, KoolWorld]:
        four = ("1", "2", "3", "4")
        codings = {"state1": ("1", "2"), "choice1": four, "left": four, "state2": ("1", "2")}
        world = play_kool(n_trials, n_agents, rng, environment=environment, **settings)
        return cls(4, four, world.outcome_range, codings=codings, has_sides=True), world

    def replay(  # noqa: D102
        self, columns: Mapping[str, np.ndarray], copies: int, rng: np.random.Generator, *, environment: Any = None
    ) -> World:
        return replay_kool(self, columns, copies, rng, environment)


def _need(codings: Mapping[str, tuple[str, ...]], name: str, n: int) -> None:
    labels = codings.get(name, ())
    if len(labels) != n:
        raise DataError(
            f"{name} has {len(labels)} values ({', '.join(labels)}); {n} were expected in this task. Is it the right "
            f"column? If a value never occurs, declare all of them with --codes {name}=... (in Python codes=...)."
        )


def _second_stage(columns: Columns, codings: Codings) -> str:
    """Turn the four options of the second stage into a state and an option within it; says in words how."""
    choice, given, labels = columns["choice2"], columns["choice2_given"], codings["choice2"]
    if "state2" not in columns:
        columns["state2"] = np.where(given, choice // 2, 0)
        columns["choice2"] = np.where(given, choice % 2, 0)
        codings |= {"state2": ("1", "2"), "choice2": ("1", "2")}
        return (
            f"there is no state2: it follows from choice2, {labels[0]} and {labels[1]} in the first state, "
            f"{labels[2]} and {labels[3]} in the second"
        )
    _need(codings, "state2", 2)
    of_state = [np.unique(choice[given & (columns["state2"] == state)]) for state in (0, 1)]
    if any(len(options) > 2 for options in of_state) or np.isin(of_state[0], of_state[1]).any():
        found = "; ".join(
            f"in state {name}: {', '.join(labels[c] for c in options)}"
            for name, options in zip(codings["state2"], of_state, strict=True)
        )
        raise DataError(f"choice2 has four options, and each should belong to one state2; found {found}.")
    within = np.zeros(4, dtype=np.int64)
    for options in of_state:
        within[options] = np.arange(len(options))
    columns["choice2"] = np.where(given, within[choice], 0)
    codings["choice2"] = ("1", "2")
    order = np.concatenate(of_state)
    if len(order) == 4 and all(f"payoff_{k + 1}" in columns for k in range(4)):
        # Numbered like the four options so far; from now on those of the first state come first.
        columns |= {f"payoff_{k + 1}": columns[f"payoff_{option + 1}"] for k, option in enumerate(order)}
    names = [" and ".join(labels[c] for c in options) for options in of_state]
    return "choice2 names options of both states: " + ", ".join(
        f'{name} in state2 "{state}"' for name, state in zip(names, codings["state2"], strict=True)
    )


def _check_direction(columns: Columns, codings: Codings) -> None:
    """Refuse states that are numbered the other way round: the likelihood would take rare for common."""
    known = columns["choice1_given"] & columns["choice2_given"]
    common = columns["state2"] == columns["choice1"]
    if known.sum() < _ENOUGH or common[known].mean() >= _REVERSED:
        return
    first, states = codings["choice1"][0], codings["state2"]
    raise DataError(
        f'state2 "{states[1]}" is the usual one after choice1 "{first}" ({1 - common[known].mean():.0%} of trials). '
        f'Expected was "{states[0]}": the first state is the common one after the first option. Turn the states '
        f"round with --codes state2={states[1]},{states[0]} "
        f'(in Python codes={{"state2": ["{states[1]}", "{states[0]}"]}}).'
    )


def _counts(frame: pd.DataFrame, n_first: int) -> np.ndarray:
    """Trials in which each first choice led to each state, int, shape (first choice, 2)."""
    known = frame["choice1_given"].to_numpy(dtype=bool)
    if "choice2_given" in frame:
        known = known & frame["choice2_given"].to_numpy(dtype=bool)
    counts = np.zeros((n_first, 2), dtype=np.int64)
    np.add.at(counts, (frame["choice1"].to_numpy()[known], frame["state2"].to_numpy()[known]), 1)
    return counts


def _transitions(task: Task, frame: pd.DataFrame) -> str:
    """For each first choice the shares of its trials that lead to each state, a line each."""
    lines = []
    for label, counts in zip(task.codings["choice1"], _counts(frame, task.n_options), strict=True):
        shares = counts / max(counts.sum(), 1)
        led = ", ".join(
            f'to state2 "{state}" in {share:.0%}' for state, share in zip(task.codings["state2"], shares, strict=True)
        )
        lines.append(f'choice1 "{label}" led {led} of {counts.sum():,} trials')
    return "\n".join(lines)


def _doubtful_transitions(task: Task, frame: pd.DataFrame) -> tuple[str, ...]:
    """Look for transitions that no two-step task has, as where columns were exchanged."""
    counts = _counts(frame, task.n_options)
    if counts.sum(axis=1).min() < _ENOUGH:
        return ()
    shares = counts / counts.sum(axis=1, keepdims=True)
    if shares.max() < _COMMON:
        seen = f"after neither choice1 is one state2 common: none follows in {_COMMON:.0%} of trials or more"
    elif shares[0].argmax() == shares[1].argmax():
        seen = f'either choice1 leads mostly to state2 "{task.codings["state2"][shares[0].argmax()]}"'
    else:
        return ()
    return (
        f"{seen} (see transitions). Columns may be exchanged, such as state2 and choice2: check which column holds the "
        "state that the first choice led to, and name it with --column state2=NAME (in Python "
        'columns={"state2": "NAME"}).',
    )


def _first_stage(columns: Columns, codings: Codings) -> None:
    """Make choices (and what stood on the left) ids of the four options of the first stage."""
    labels, given = codings["choice1"], columns["choice1_given"]
    sides = ["left"] if "left" in columns else []
    if len(labels) == 2:
        if "state1" not in columns:
            raise DataError(
                "the state1 column is missing, and choice1 has two options, so it is not known which start state they "
                'were chosen in. Name the column with --column state1=NAME (in Python columns={"state1": "NAME"}).'
            )
        _need(codings, "state1", 2)
        for name in ("choice1", *sides):
            columns[name] = columns[name] + 2 * columns["state1"]
        columns["choice1"] = np.where(given, columns["choice1"], 0)
        codings["choice1"] = tuple(f"{state}:{option}" for state in codings["state1"] for option in labels)
        codings |= dict.fromkeys(sides, codings["choice1"])
        return
    _need(codings, "choice1", 4)
    if "state1" not in columns:
        # Nothing depends on the start state of a row without a response.
        columns["state1"] = np.where(given, columns["choice1"] // 2, 0)
        codings["state1"] = ("1", "2")
    for name in ("choice1", *sides):
        wrong = given & (columns[name] // 2 != columns["state1"])
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f'{name} "{labels[columns[name][row]]}" occurs in start state '
                f'"{codings["state1"][columns["state1"][row]]}"; expected were {labels[0]} and {labels[1]} in the '
                f"first start state, {labels[2]} and {labels[3]} in the second. Declare the order with "
                '--codes choice1=A,B,C,D (in Python codes={"choice1": ["A", "B", "C", "D"]}), the options of the first '
                "start state first."
            )


def _recoded(codes: np.ndarray, labels: tuple[str, ...], wanted: tuple[str, ...]) -> np.ndarray:
    """Code labels as another column does."""
    strange = [label for label in labels if label not in wanted]
    if strange:
        raise DataError(
            f"left holds {', '.join(strange)}, which choice1 never does; expected the option on the left in the labels "
            f"of choice1 ({', '.join(wanted)}). Leave the column out if it says something else."
        )
    return np.array([wanted.index(label) for label in labels], dtype=np.int64)[codes]


def _certain_transitions(columns: Columns, codings: Codings) -> tuple[int, ...]:
    """State that each first-stage option leads to; refuses transitions that are not certain."""
    given = columns["choice1_given"]
    counts = np.zeros((4, 2), dtype=int)
    np.add.at(counts, (columns["choice1"][given], columns["state2"][given]), 1)
    uncertain = np.flatnonzero(counts.min(axis=1) > 0)
    if uncertain.size:
        option = uncertain[0]
        raise DataError(
            f'choice1 "{codings["choice1"][option]}" leads to both goal states ({counts[option, 0]} and '
            f"{counts[option, 1]} times); transitions of this task are certain. Use a two_step model of Daw's task if "
            "they are not."
        )
    leads_to = np.where(counts.sum(axis=1) > 0, counts.argmax(axis=1), np.arange(4) % 2)
    if any(leads_to[2 * state] == leads_to[2 * state + 1] for state in (0, 1)):
        raise DataError("both options of a start state lead to the same goal state; expected one option for each.")
    return tuple(int(state) for state in leads_to)
