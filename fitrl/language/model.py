"""A model: its parameters, options and state, and what happens in one trial."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from fitrl.errors import ModelError
from fitrl.language.blame import author_text, place_of
from fitrl.language.parameters import Derived, Latent, Option, Parameter
from fitrl.language.state import State, unknown
from fitrl.language.tables import table


def _declared(cls: type, kind: type) -> dict[str, Any]:
    """Collect the declarations of one kind in the class and its bases, in the order they were written."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, kind):
                found[name] = value
            elif name in found:
                del found[name]
    return found


class Declared:
    """Shared by models and traits: parameters and options declared as class attributes."""

    name: str = ""

    def __init__(self, **options: Any):
        known = _declared(type(self), Option)
        for name, value in options.items():
            if name not in known:
                raise ModelError(f"{self.label}: {unknown('option', name, known)}")
            choices = known[name].choices
            if choices and value not in choices:
                listed = ", ".join(repr(c) for c in choices)
                raise ModelError(f"{self.label}: option {name} is {value!r}; it can be {listed}.")
        self.options: dict[str, Any] = {n: options.get(n, o.default) for n, o in known.items()}
        for name, value in self.options.items():
            setattr(self, name, value)

    @property
    def label(self) -> str:
        """Name used in messages and files."""
        return self.name or re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    @classmethod
    def option_declarations(cls) -> dict[str, Option]:
        """Options by name."""
        return _declared(cls, Option)

    @classmethod
    def latent_declarations(cls) -> dict[str, Latent]:
        """Documented state fields and recorded quantities by name."""
        return _declared(cls, Latent)

    def parameters(self) -> dict[str, Parameter]:
        """Fitted parameters by name, in order of declaration."""
        return _declared(type(self), Parameter)


class Trait(Declared):
    """A part that composes with any model: stickiness, forgetting, a lapse.

    A trait declares parameters, options and state like a model, and overrides what it needs:
    `in_phase`, `logits`, `wrap`, `supply_rate`, `after`, `between`. Traits act in the order of ``stage`` (then name),
    whatever the order in which they were given.

    Attributes
    ----------
    stage : int
        Place in the fixed order: 10 rates, 20 logits, 30 learning, 40 decay, 50 the policy as a whole.
    replaces : tuple of str
        Parameters of the model that this trait makes superfluous.
    excludes : tuple of str
        Names of traits that cannot be combined with this one, since the result is not identified.
    on : str or None
        The choice it acts on; None for the first choice of the trial.
    """

    stage: int = 20
    excludes: tuple[str, ...] = ()
    on: str | None = None

    @property
    def replaces(self) -> tuple[str, ...]:
        """Parameters of the model that this trait makes superfluous."""
        return ()

    def start(self, p: Any, task: Any, model_start: State) -> dict[str, Any]:
        """State fields of the trait at the start, by name."""
        return {}

    def in_phase(self, phase: str, values: Mapping[str, Any], model: Model) -> Mapping[str, Any]:
        """Values of the fitted parameters as they are in "learn" or in "choose"."""
        return values

    def logits(self, s: State, p: Any, t: Any) -> Any:
        """Table to add to the logits, or None."""
        return None

    def wrap(self, policy: Any, p: Any) -> Any:
        """Return the policy, or one made from it."""
        return policy

    def supply_rate(self, name: str, rpe: Any, outcome: Any, p: Any) -> Any:
        """Learning rate `name` for this prediction error and outcome, or None if not supplied."""
        return None

    def after(self, s: State, p: Any, t: Any) -> None:
        """Act after the trial, before it is known whether the trial teaches."""

    def between(self, s: State, p: Any, t: Any) -> None:
        """Act in every row, with or without a response."""

    def check(self, model: Model) -> None:
        """Refuse a model that this trait cannot join, with a `ModelError`."""

    def check_priors(self, parameters: Mapping[str, Parameter], model: Model) -> None:
        """Refuse priors with which this trait would not do what it says, with a `ModelError`."""


class Model(Declared):
    """A model of choice behaviour; subclass it and write the trial once.

    Class attributes declare what it needs: ``task``, parameters (`unit`, `positive`, `real`, `lapse`),
    `derived` quantities, `option` settings, `latent` documentation. Override `start` and `trial`,
    `between` if something happens in every row, and `prepare` for columns that are computed beforehand.

    Examples
    --------
    >>> from fitrl.language import Model, State, positive, softmax, unit
    >>> from fitrl.tasks import Bandit
    >>> class Delta(Model):
    ...     "Rescorla-Wagner learning."
    ...     task = Bandit
    ...     alpha = unit("learning rate")
    ...     beta = positive("inverse temperature", unit="1/outcome")
    ...     def start(self, p, task):
    ...         return State(q=task.values())
    ...     def trial(self, s, p, t):
    ...         a = t.choose("choice", softmax(p.beta * s.q))
    ...         rpe = t.observe("outcome") - s.q[a]
    ...         s.q[a] += p.alpha * rpe
    ...         t.record(rpe=rpe)
    """

    task: Any = None
    reference: str = ""
    prepared: tuple[str, ...] = ()
    traits: tuple[Trait, ...] = ()
    # Parameters that belong to one phase ("learn" or "choose") although the text uses them in both.
    phases: Mapping[str, str] = MappingProxyType({})

    # What an author writes ----------------------------------------------------------------------

    def start(self, p: Any, task: Any) -> State:
        """State before the first trial, and after a reset."""
        return State()

    def trial(self, s: State, p: Any, t: Any) -> None:
        """Say what happens in one trial."""
        raise ModelError(f"{self.label} has no trial(self, s, p, t).")

    def between(self, s: State, p: Any, t: Any) -> None:
        """Say what happens in every row, whether or not there was a response."""

    def prepare(self, frame: Any) -> dict[str, Any]:
        """Compute columns once from the trial table, before and apart from any parameter.

        Parameters
        ----------
        frame : DataFrame
            The trial table, in the order of learning; ``frame["sequence"]`` numbers the sequences.

        Returns
        -------
        dict of str to ndarray, shape (row,)
            The columns named in the class attribute ``prepared``; the trial reads them with ``t.cue(name)``. For
            example the belief path of an ideal observer.
        """
        return {}

    # What the toolkit uses ----------------------------------------------------------------------

    def with_(self, *traits: Trait) -> Model:
        """Return this model with traits added.

        Raises
        ------
        ModelError
            If a combination is not identified, or a trait does not fit the model.

        Examples
        --------
        >>> from fitrl.models import q_learning
        >>> from fitrl.language.traits import stickiness
        >>> list(q_learning.with_(stickiness()).parameters())
        ['alpha', 'beta', 'kappa']
        """
        result = copy.copy(self)
        result.traits = tuple(sorted((*self.traits, *traits), key=lambda trait: (trait.stage, trait.label)))
        names = [trait.label for trait in result.traits]
        for trait in result.traits:
            if names.count(trait.label) > 1:
                raise ModelError(f"trait {trait.label} was given twice.")
            for other in trait.excludes:
                if other in names:
                    raise ModelError(f"{trait.label} and {other} cannot be told apart from choices; use one of them.")
            trait.check(result)
        result.parameters()
        return result

    def parameters(self) -> dict[str, Parameter]:
        """Fitted parameters of the model and its traits, by name."""
        found = super().parameters()
        for trait in self.traits:
            for gone in trait.replaces:
                if gone not in found:
                    raise ModelError(
                        f"trait {trait.label} replaces the parameter `{gone}`, which {self.label} does not have "
                        f"(it has {', '.join(found) or 'none'})."
                    )
                found.pop(gone)
        for trait in self.traits:
            for name, parameter in trait.parameters().items():
                if name in found:
                    raise ModelError(f"trait {trait.label} declares `{name}`, which {self.label} already has.")
                found[name] = parameter
        return found

    def fitted(self, task: Any) -> dict[str, Parameter]:
        """Fitted parameters for a configured task: one with a value per option becomes several.

        Parameters
        ----------
        task : Task
            The configured task, which knows the number of options.
        """
        found: dict[str, Parameter] = {}
        for name, parameter in self.parameters().items():
            if not parameter.per_option:
                found[name] = parameter
                continue
            for k in range(1, task.n_options):
                found[f"{name}_{k}"] = parameter.but(
                    name=f"{name}_{k}",
                    description=f"{parameter.description}, {task.labels[k]} over {task.labels[0]}",
                )
        return found

    def derived(self) -> dict[str, Derived]:
        """Return the derived quantities by name."""
        return _declared(type(self), Derived)

    def bind(self, values: Mapping[str, Any], task: Any, learning: Mapping[str, Any] | None = None) -> Any:
        """Make the namespace `p` from values of the fitted parameters.

        Parameters
        ----------
        values : mapping of str to value
            Values by name.
        task : Task
            Configured.
        learning : mapping of str to value, optional
            Parameters that take another value in learning than in choice, with that value.
        """
        from fitrl.language.trial import Parameters

        in_choice: Mapping[str, Any] = values
        in_learning: Mapping[str, Any] = {**values, **(learning or {})}
        for trait in self.traits:
            in_choice = trait.in_phase("choose", in_choice, self)
            in_learning = trait.in_phase("learn", in_learning, self)
        derived, choice = self.derived(), self._namespace(in_choice, task)
        if all(in_learning[name] is value for name, value in in_choice.items()):
            return Parameters(choice, derived)
        return Parameters(choice, derived, Parameters(self._namespace(in_learning, task), derived))

    def _namespace(self, values: Mapping[str, Any], task: Any) -> dict[str, Any]:
        """Put parameters with a value per option together."""
        found = dict(values)
        for name, parameter in self.parameters().items():
            if parameter.per_option:
                found[name] = table([0.0, *[found.pop(f"{name}_{k}") for k in range(1, task.n_options)]])
        return found

    def start_state(self, p: Any, task: Any) -> State:
        """Start of the model with the fields of its traits."""
        with author_text(self):
            state = self.start(p, task)
            if not isinstance(state, State):
                raise ModelError(
                    f"{place_of(self.start)}: it returns {type(state).__name__}, but must return State(...)."
                )
            fields = state.fields()
            for trait in self.traits:
                for name, value in trait.start(p, task, state).items():
                    if name in fields:
                        raise ModelError(f"trait {trait.label} needs a state field `{name}`, which is taken.")
                    fields[name] = value
        return State(**fields)

    def traits_on(self, choice: str, t: Any) -> list[Trait]:
        """Traits that act on this choice: by default the first that the task names."""
        return [trait for trait in self.traits if (trait.on or t.task.choices()[0]) == choice]

    def latents(self) -> dict[str, Latent]:
        """Documented latents of the model and its traits."""
        found = dict(self.latent_declarations())
        for trait in self.traits:
            found |= trait.latent_declarations()
        return found

    def describe(self) -> str:
        """Name with traits, as in ``q_learning + stickiness + lapse``."""
        return " + ".join([self.label, *[_with_options(trait) for trait in self.traits]])


def _with_options(trait: Trait) -> str:
    defaults = {n: o.default for n, o in trait.option_declarations().items()}
    changed = [f"{n}={v}" for n, v in trait.options.items() if v != defaults[n]]
    return trait.label + (f":{','.join(changed)}" if changed else "")
