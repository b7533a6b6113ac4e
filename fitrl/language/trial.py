"""The trial as its author sees it: `t` in ``trial(self, s, p, t)``.

Two kinds exist. `Given` scores choices that were made: with symbols it is the likelihood, with arrays the
filter, with numbers the plain interpreter. `Playing` makes the choices and asks the task for answers: the
simulator. Both run the author's text through `play_row`, which is the only place that knows the order
of events within a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fitrl.errors import ModelError, NoProbabilities
from fitrl.language.policies import Policy
from fitrl.language.state import State, choose_state, unknown
from fitrl.language.tables import Table, exp, onehot, table, where


class Parameters:
    """The parameters of one subject: ``p.alpha``. Unknown names are refused with the nearest known one.

    Under a lesion or a drug the same parameter may differ between choice and learning; then `_in_learning` holds the
    namespace of learning, and this one is that of choice (see `play_row`).
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        derived: Mapping[str, Any] | None = None,
        in_learning: Parameters | None = None,
    ):
        self._values = dict(values)
        self._derived = dict(derived or {})
        self._in_learning = in_learning
        self.used: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self._values:
            self.used.add(name)
            return self._values[name]
        if name in self._derived:
            return self._derived[name].formula(self)
        raise ModelError(f"{unknown('parameter', name, [*self._values, *self._derived])} Declare it in the class.")


class _Choices(dict):
    """Choices made so far in this trial."""

    def __missing__(self, name: str) -> Any:
        raise ModelError(
            f'the choice "{name}" is needed here, but it has not been made yet in this trial. Call '
            f't.choose("{name}", ...) first.'
        )


class Trial:
    """One trial; base of `Given` and `Playing`."""

    def __init__(self, model: Any, task: Any, p: Parameters, s: State, start: State):
        self.model, self.task, self.p, self.s, self.start = model, task, p, s, start
        self.before = s.copy()
        self.choices: dict[str, Any] = _Choices()
        self.offers: dict[str, Table | None] = {}
        self.probabilities: dict[str, Table] = {}
        self.log_probability: dict[str, Any] = {}
        self.latents: dict[str, Any] = {}

    # What an author calls -----------------------------------------------------------------------

    def choose(self, name: str, policy: Policy, among: Any = None) -> Any:
        """Make, or score, a choice.

        Parameters
        ----------
        name : str
            Name of the choice, a column of the task.
        policy : Policy
            Over all options.
        among : Table or sequence of int, optional
            Indices of the options on offer; by default what the task offers in this trial.

        Returns
        -------
        int
            Index of the chosen option.
        """
        self._new_emission(name)
        offers = self._offered(name) if among is None else table(list(among))
        for trait in self.model.traits_on(name, self):
            bonus = trait.logits(self.s, self.p, self)
            policy = policy if bonus is None else policy.shifted(bonus)
        if offers is not None:
            policy = policy.among(offers)
        for trait in self.model.traits_on(name, self):
            policy = trait.wrap(policy, self.p)
        self.offers[name] = offers
        self.probabilities[name] = policy.log_probs()
        self.choices[name] = self._choose(name, policy, offers)
        return self.choices[name]

    def emit(self, name: str, density: Any) -> Any:
        """Emit, or score, a measured response such as a response time; returns its value."""
        self._new_emission(name)
        return self._emit(name, density)

    def observe(self, name: str) -> Any:
        """Observe what the world answers to the choices so far, such as ``"outcome"``."""
        raise ModelError("Trial is abstract.")

    def cue(self, name: str) -> Any:
        """See what the world shows before the choice, such as ``"stimulus"``."""
        raise ModelError("Trial is abstract.")

    def given(self, name: str) -> Any:
        """Whether this answer was shown (an outcome that was hidden or not recorded is not)."""
        raise ModelError("Trial is abstract.")

    def record(self, **latents: Any) -> None:
        """Keep quantities of this trial for latents tables, such as ``rpe=rpe``."""
        self.latents.update(latents)

    def rate(self, name: str, rpe: Any, outcome: Any) -> Any:
        """Learning rate `name` for this prediction error; a trait may supply it.

        Parameters
        ----------
        name : str
            Name of the rate, for example ``"alpha"``.
        rpe, outcome : number
            Prediction error and outcome that the rate may depend on.
        """
        for trait in self.model.traits:
            rate = trait.supply_rate(name, rpe, outcome, self.p)
            if rate is not None:
                return rate
        return getattr(self.p, name)

    def unchosen(self, name: str) -> Any:
        """Index of the option that was on offer and not chosen, where two are on offer."""
        choice = self.choices[name]
        n = len(self.probabilities[name])
        if n != 2:
            raise ModelError(f"`{name}` has {n} options on offer, so there is no single unchosen one.")
        offers = self.offers[name]
        first, second = (0, 1) if offers is None else (offers[0], offers[1])
        # A missed response holds the code 0, which need not be on offer; the answer must still be an option.
        return where(choice == first, second, first)

    def chosen(self, name: str) -> Table:
        """Mark the chosen one among all options: 1 for the option chosen in this row, all 0 after a missed response."""
        taken = onehot(self.choices[name], self.task.size(name))
        return where(self.responded(name), taken, 0.0 * taken)

    def responded(self, name: str) -> Any:
        """Whether there was a response in this row."""
        raise ModelError("Trial is abstract.")

    def teaches(self, learns: Any) -> Any:
        """Whether the trial teaches, which `learns` says unless its answers say more."""
        return learns

    def again(self, p: Parameters, s: State) -> Trial:
        """Return the same trial, with the same choices and answers, for other parameters and another state."""
        raise ModelError("Trial is abstract.")

    # What the two kinds supply ------------------------------------------------------------------

    def _new_emission(self, name: str) -> None:
        if name in self.choices or name in self.log_probability:
            raise ModelError(f'"{name}" is chosen or emitted twice in one trial. Give each emission its own name.')
        if name not in self.task.emissions():
            raise ModelError(
                f"{unknown('response', name, self.task.emissions())} "
                f"The task {type(self.task).__name__} declares which responses it records."
            )

    def _offered(self, name: str) -> Table | None:
        raise ModelError("Trial is abstract.")

    def _choose(self, name: str, policy: Policy, offers: Table | None) -> Any:
        raise ModelError("Trial is abstract.")

    def _emit(self, name: str, density: Any) -> Any:
        raise ModelError("Trial is abstract.")


class Given(Trial):
    """A trial whose choices and outcomes are given, by column.

    Parameters
    ----------
    columns : mapping
        Values of this row: symbols, arrays over agents, or numbers.
    """

    def __init__(self, model: Any, task: Any, p: Parameters, s: State, start: State, columns: Mapping[str, Any]):
        super().__init__(model, task, p, s, start)
        self.columns = columns

    def again(self, p: Parameters, s: State) -> Given:
        """Return a trial on the same row."""
        return Given(self.model, self.task, p, s, self.start, self.columns)

    def observe(self, name: str) -> Any:
        """Return the recorded answer."""
        return self._column(name)

    def cue(self, name: str) -> Any:
        """Return the recorded cue."""
        if name in self.task.emissions():
            raise ModelError(
                f"`{name}` is a response, so it is not known before the choice. If it is a number that is shown, "
                'declare its column with the kind "quantity"; the response itself is what t.choose or t.emit returns.'
            )
        return self._column(name)

    def given(self, name: str) -> Any:
        """Whether the answer was recorded."""
        return self._column(f"{name}_given")

    def responded(self, name: str) -> Any:
        """Whether there was a response in this row."""
        return self._column(f"{name}_given")

    def _column(self, name: str) -> Any:
        try:
            return self.columns[name]
        except KeyError:
            shown = [c for c in self.columns if not c.endswith("_given")]
            raise ModelError(
                f"{unknown('column', name, shown)} Name the user's column with "
                f"--column {name}=THEIR_NAME, or use a model that does not need it."
            ) from None

    def _offered(self, name: str) -> Table | None:
        n = self.task.offered(name)
        return None if n is None else table([self.columns[f"offer_{j + 1}"] for j in range(n)])

    def _choose(self, name: str, policy: Policy, offers: Table | None) -> Any:
        choice = self._column(name)
        at = choice
        if offers is not None:
            at = len(offers) - 1
            for j in reversed(range(len(offers) - 1)):
                at = where(choice == offers[j], j, at)
        self.log_probability[name] = policy.log_prob(at)
        return choice

    def _emit(self, name: str, density: Any) -> Any:
        # A missing response holds a number that the density may not allow; although it is not scored, an
        # infinite density would turn gradients into nan.
        value = where(self.responded(name), self._column(name), density.typical)
        self.log_probability[name] = density.log_density(value)
        return value


class Playing(Trial):
    """A trial that is played: choices are drawn, and the task answers.

    Parameters
    ----------
    world : object
        The played task at this trial, see `fitrl.tasks.world.World`.
    rng : numpy.random.Generator
        Source of randomness, advanced by every choice.
    """

    def __init__(self, model: Any, task: Any, p: Parameters, s: State, start: State, world: Any, rng: Any):
        super().__init__(model, task, p, s, start)
        self.world, self.rng = world, rng
        self.emitted: dict[str, Any] = {}

    def again(self, p: Parameters, s: State) -> Played:
        """Return a trial that repeats what was just played."""
        return Played(self, p, s)

    def observe(self, name: str) -> Any:
        """Ask the task for its answer to the choices so far; 0 where it shows none."""
        self.emitted[name] = self.world.answer(name, self.choices)
        return _filled_in(self.emitted[name])

    def cue(self, name: str) -> Any:
        """Ask the task what it shows."""
        self.emitted[name] = self.world.cue(name)
        return self.emitted[name]

    def given(self, name: str) -> Any:
        """Whether the task shows this answer."""
        if name not in self.emitted and name in self._outcomes():
            self.observe(name)
        return self.world.shows(name) & ~_is_blank(self.emitted.get(name, 0.0))

    def teaches(self, learns: Any) -> Any:
        """Whether the trial teaches: not where an outcome that the task requires is not shown."""
        for name, required in self._outcomes().items():
            if required and name in self.emitted:
                learns = learns & ~_is_blank(self.emitted[name])
        return learns

    def _outcomes(self) -> dict[str, bool]:
        """Outcomes of the task, and whether they are required."""
        return {column.name: column.required for column in self.task.columns if column.kind == "outcome"}

    def responded(self, name: str) -> Any:
        """Whether the agents respond, which they do unless a world that was recorded says otherwise."""
        return self.world.responds(name)

    def _offered(self, name: str) -> Table | None:
        return self.world.offers(name)

    def _choose(self, name: str, policy: Policy, offers: Table | None) -> Any:
        n_agents = self.world.n_agents
        cells = [np.broadcast_to(cell, n_agents) for cell in exp(self.probabilities[name]).cells()]
        cumulative = np.cumsum(cells, axis=0)
        lost = int(np.isnan(cumulative[-1]).sum())
        if lost:
            raise NoProbabilities(
                f"the model gives no probabilities for {name} to {lost} of {n_agents} agents in trial "
                f"{self.world.trial + 1}: their parameters lie where it fails. Its card says where that is."
            )
        u = self.rng.random(n_agents) * cumulative[-1]
        at = np.minimum((u >= cumulative).sum(axis=0), len(cells) - 1)
        self.log_probability[name] = policy.log_prob(at)
        self.emitted[name] = at if offers is None else offers[at]
        instructed = self.world.instructed(name)
        if instructed is not None:
            told, option = instructed
            self.emitted[name] = np.where(told, option, self.emitted[name])
        return self.emitted[name]

    def _emit(self, name: str, density: Any) -> Any:
        value = density.sample(self.rng, self.world.n_agents)
        self.emitted[name] = value
        self.log_probability[name] = density.log_density(value)
        return value


class Played(Playing):
    """A trial that was played, run again with the same choices and answers; nothing is drawn or asked for."""

    def __init__(self, played: Playing, p: Parameters, s: State):
        super().__init__(played.model, played.task, p, s, played.start, played.world, played.rng)
        self.emitted = played.emitted

    def observe(self, name: str) -> Any:
        """Return the answer that was given."""
        return _filled_in(self.emitted[name])

    def cue(self, name: str) -> Any:
        """Return the cue that was shown."""
        return self.emitted[name]

    def _choose(self, name: str, policy: Policy, offers: Table | None) -> Any:
        return self.emitted[name]

    def _emit(self, name: str, density: Any) -> Any:
        self.log_probability[name] = density.log_density(self.emitted[name])
        return self.emitted[name]


def _is_blank(answer: Any) -> np.ndarray:
    """Where a task shows no answer."""
    return np.isnan(np.asarray(answer, dtype=float))


def _filled_in(answer: Any) -> Any:
    """Return an answer with 0 where the task shows none, as in a file that was read."""
    blank = _is_blank(answer)
    return np.where(blank, 0.0, answer) if blank.any() else answer


def play_row(model: Any, task: Any, p: Parameters, s: State, reset: Any, learns: Any, make_trial: Any) -> tuple:
    """Run one row: reset, trial, learning, what happens between trials. The order of events lives here.

    Where parameters differ between choice and learning, the trial is run twice from the same state: once with those
    of choice, for what is chosen and emitted; and again with those of learning and the same choices, for everything
    else (the start, the next state, and recorded latents). That needs no knowledge of which line of the text belongs
    to which phase.

    Parameters
    ----------
    model, task
        The model and the configured task.
    p : Parameters
        Parameters of the subject.
    s : State
        State after the previous row.
    reset, learns : bool, array of bool, or Symbol
        Whether the state starts afresh at this row, and whether the trial teaches.
    make_trial : callable
        From (parameters, state, start state) to a `Trial`.

    Returns
    -------
    t : Trial
        After the row: choices, log probabilities, latents, and ``t.before``, the state before learning.
    s : State
        State after the row.
    """
    in_learning = p if p._in_learning is None else p._in_learning
    start = model.start_state(in_learning, task)
    s = choose_state(reset, start, s)
    t = make_trial(p, s, start)
    model.trial(s, p, t)
    learning = t
    if in_learning is not p:
        s = t.before.copy()
        learning = t.again(in_learning, s)
        model.trial(s, in_learning, learning)
    for trait in model.traits:
        trait.after(s, in_learning, learning)
    s = choose_state(t.teaches(learns), s, learning.before)
    learning.s = s
    model.between(s, in_learning, learning)
    for trait in model.traits:
        trait.between(s, in_learning, learning)
    t.s, t.latents = s, learning.latents
    return t, s
