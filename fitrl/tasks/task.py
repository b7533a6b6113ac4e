"""What a task is: the columns it needs, how they are coded, an environment, and its signatures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from fitrl.errors import ModelError
from fitrl.language.tables import Table, filled
from fitrl.tasks.replay import NotReplayable
from fitrl.tasks.world import World

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """A column that a task knows.

    Attributes
    ----------
    name : str
        Canonical name, also the name in ``t.choose``, ``t.observe`` and ``t.cue``.
    kind : {"choice", "outcome", "cue", "quantity", "offer", "payoff", "number"}
        How it is coded. ``choice``: a label per option, blank when the response is missing.
        ``outcome``: a number, divided by the outcome scale. ``cue``: a label per level.
        ``quantity``: a number that is shown before the choice, such as an amount on offer.
        ``offer``: the label of one option on offer, coded like the choice.
        ``payoff``: probability (0 to 1) that an option pays. ``number``: a measured response, such as a
        response time, left as it is; a model may emit it.
        A name that ends in ``_#`` stands for numbered columns ``_1``, ``_2``, ...
    description : str
        One line for the card and for error messages.
    required : bool
        Whether a file without it is refused.
    aliases : tuple of str
        Other names under which it is recognised.
    labels : tuple of str
        Labels of a choice or a cue in the order of their codes, where the model depends on the order (0 decline,
        1 gamble). Others are refused unless the user declares them. Without it, labels are ordered by number or
        alphabet.
    """

    name: str
    kind: str
    description: str
    required: bool = True
    aliases: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """A task, configured for a data set or a simulation; subclass it for a new one.

    Attributes
    ----------
    n_options : int
        Number of things that are valued and chosen, over the whole task.
    labels : tuple of str
        Their names, in the order of their codes.
    outcome_range : (float, float)
        Lowest and highest outcome after scaling; its midpoint is the default initial value.
    codings : mapping of str to tuple of str
        Labels of every choice and cue, in the order of their codes; ``len(task.codings["stimulus"])`` is the
        number of stimuli.
    """

    columns: ClassVar[tuple[Column, ...]] = ()

    n_options: int = 2
    labels: tuple[str, ...] = ("0", "1")
    outcome_range: tuple[float, float] = (0.0, 1.0)
    codings: Mapping[str, tuple[str, ...]] = field(default_factory=dict, kw_only=True, hash=False)

    @classmethod
    def configured(
        cls,
        columns: Mapping[str, np.ndarray],
        codings: Mapping[str, tuple[str, ...]],
        outcome_range: tuple[float, float],
    ) -> tuple[Self, dict[str, np.ndarray], dict[str, tuple[str, ...]]]:
        """Configure the task for coded data, and complete the columns.

        Parameters
        ----------
        columns : mapping of str to ndarray, shape (row,)
            Coded columns.
        codings : mapping of str to tuple of str
            Labels of the coded columns.
        outcome_range : (float, float)
            Range of the scaled outcomes.

        Returns
        -------
        task, columns, codings
        """
        labels = codings[cls.choices()[0]] if cls.choices() else ()
        task = cls(len(labels), tuple(labels), outcome_range, codings=dict(codings))
        return task, dict(columns), dict(codings)

    @classmethod
    def play(
        cls, n_trials: int, n_agents: int, rng: np.random.Generator, *, environment: Any = None, **settings: Any
    ) -> tuple[Task, World]:
        """Set up the task for many agents.

        Parameters
        ----------
        n_trials, n_agents : int
            Size.
        rng : numpy.random.Generator
            Source of randomness.
        environment : str or object, optional
            How payoffs come about; None for the default of the task. A `World` of this size is played as it is.
        **settings
            ``outcome_range`` (the two outcomes) and ``n_options``, as far as the task can vary them.

        Returns
        -------
        task : Task
            Configured.
        world : World

        Raises
        ------
        ModelError
            If there is no such environment, or the task has none of its own and no world was given.
        """
        if not isinstance(environment, World):
            raise ModelError(
                f"the task {cls.__name__} has no environment of its own. Write a World (fitrl.tasks.World) that "
                "answers for it, and pass it as environment=..."
            )
        return cls(), environment

    def replay(
        self, columns: Mapping[str, np.ndarray], copies: int, rng: np.random.Generator, *, environment: Any = None
    ) -> World:
        """Set up recorded trials for agents who choose by themselves; override it for free-running predictions.

        Parameters
        ----------
        columns : mapping of str to ndarray, shape (trial, sequence)
            The coded trial table, laid out: choices, cues and outcomes with their ``_given`` and ``mask_`` columns,
            ``mask_update`` and ``reset``.
        copies : int
            Agents per sequence.
        rng : numpy.random.Generator
            Source of randomness.
        environment : str or object, optional
            How payoffs come about where the data do not tell.

        Returns
        -------
        World
            Of these trials and ``copies`` times as many agents as sequences: a `fitrl.tasks.Recorded` with an `answer`
            to any choice. What of it is made up stands in its attribute ``simulated``.

        Raises
        ------
        NotReplayable
            If what other choices would have earned is not known.

        Examples
        --------
        A task in which the outcome is shown whatever is chosen:

        >>> from fitrl.tasks import Recorded
        >>> class Watched(Recorded):
        ...     def answer(self, name, choices):
        ...         return self.now(name)
        >>> class Watching(Task):
        ...     def replay(self, columns, copies, rng, **settings):
        ...         return Watched(columns, copies)
        """
        raise NotReplayable(
            f"the task {type(self).__name__} does not say what other choices would have earned; give it a method "
            "replay (see fitrl.tasks.Task.replay)"
        )

    @classmethod
    def choices(cls) -> tuple[str, ...]:
        """Names of the choices in a trial, in order."""
        return tuple(c.name for c in cls.columns if c.kind == "choice")

    @classmethod
    def emissions(cls) -> tuple[str, ...]:
        """Names of everything that a model may choose or emit."""
        return tuple(c.name for c in cls.columns if c.kind in ("choice", "number"))

    def size(self, choice: str) -> int:
        """Return the number of options that `choice` is made among, over the whole task."""
        return len(self.codings[choice]) if choice in self.codings else self.n_options

    def offered(self, choice: str) -> int | None:
        """Return how many options are on offer in a trial, or None if always all."""
        return None

    def facts(self, frame: pd.DataFrame) -> dict[str, str]:
        """Say what a data set shows of this task, for the user to recognise it; nothing by default.

        Parameters
        ----------
        frame : DataFrame
            Canonical trials, `fitrl.data.Trials.frame`.

        Returns
        -------
        dict of str to str
            A heading of a word or two, and what is shown beside it. Lines are broken where the text has line breaks.
        """
        return {}

    def doubts(self, frame: pd.DataFrame) -> tuple[str, ...]:
        """Say what in a data set speaks for a mistake, though it can be fitted; nothing by default.

        Parameters
        ----------
        frame : DataFrame
            Canonical trials, `fitrl.data.Trials.frame`.

        Returns
        -------
        tuple of str
            Sentences that name what was seen, what may be the cause and what helps; shown as warnings.
        """
        return ()

    @property
    def midpoint(self) -> float:
        """Middle of the range of outcomes; 0 if the range is open."""
        low, high = self.outcome_range
        return (low + high) / 2 if np.isfinite(high - low) else 0.0

    def values(self, start: Any = None) -> Table:
        """Make a table with one value per option.

        Parameters
        ----------
        start : number, optional
            Initial value, by default the midpoint of the range of outcomes.
        """
        return filled(self.n_options, self.midpoint if start is None else start)
