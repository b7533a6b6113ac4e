"""The convergence gate: one verdict on a fit, from the draws of everything it reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import arviz_stats as az
import numpy as np
import xarray as xr

from fitrl.errors import FitError
from fitrl.fitting.diagnostics import diagnostics
from fitrl.fitting.spec import ParameterSpec

R_HAT = 1.01
R_HAT_SUBJECT = 1.05  # no single subject-level quantity may exceed it
SHARE_SUBJECT = 0.01  # share of subject-level quantities that may exceed R_HAT
ESS_PER_CHAIN = 100
BFMI_FAIL, BFMI_WARN = 0.2, 0.3
TREE_DEPTH_SHARE = 0.01
MCSE_SHARE = 0.05  # Monte-Carlo error of the mean, in posterior sds
CHAINS = 4


@dataclass(frozen=True)
class Check:
    """One check of the gate.

    Attributes
    ----------
    name : str
        Which diagnostic: ``r_hat``, ``ess_bulk``, ``divergences``, ...
    level : {"fail", "warn"}
        What it means when it is not passed.
    scope : {"sampler", "group", "subject"}
        What it was computed on.
    passed : bool
        Whether the value keeps the limit. A value that could not be computed does not.
    value : float or None
        The worst value; None if it could not be computed (constant or infinite draws).
    limit : float
        The limit.
    relation : {">", "<"}
        On which side of the limit it is not passed.
    where : str
        Variable and label of the worst value, such as ``alpha[07]``; empty for the whole fit.
    advice : str
        What to do if it is not passed.
    """

    name: str
    level: str
    scope: str
    passed: bool
    value: float | None
    limit: float
    relation: str
    where: str
    advice: str

    def __str__(self) -> str:
        word = "ok" if self.passed else {"fail": "FAIL", "warn": "warning"}[self.level]
        head = f"{word} {self.name}" + (f"[{self.where}]" if self.where else "")
        if self.value is None:
            return f"{head} could not be computed: {self.advice}"
        value, limit = _shown(self.value, self.limit)
        if self.passed:
            return f"{head} = {value} (limit {limit})"
        return f"{head} = {value} {self.relation} {limit}: {self.advice}"


@dataclass(frozen=True)
class Verdict:
    """Whether a fit may be reported, and every check behind the answer.

    Attributes
    ----------
    status : {"converged", "not converged", "quick"}
        ``quick`` is a Laplace approximation: no chains, never to be reported.
    checks : tuple of Check
        All checks, passed or not; empty for a quick fit, and if there was nothing to estimate.
    n_chains, n_draws : int
        Chains, and draws of each.
    attempts : tuple of dict
        Log of the retries: ``{"target_accept": 0.9, "divergences": 3}``, the last one being this fit;
        with ``"interrupted": True`` if it was stopped before its end.
    redrawn : tuple of str
        Single subjects on whom chains did not agree, and whose values were drawn anew (`fitrl.fitting.modes`).
    """

    status: str
    checks: tuple[Check, ...]
    n_chains: int
    n_draws: int
    attempts: tuple[dict[str, Any], ...] = ()
    redrawn: tuple[str, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether every check that can fail a fit was passed."""
        return self.status == "converged"

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed the fit."""
        return tuple(c for c in self.checks if c.level == "fail" and not c.passed)

    @property
    def warnings(self) -> tuple[Check, ...]:
        """The checks that are not passed but leave the fit usable."""
        return tuple(c for c in self.checks if c.level == "warn" and not c.passed)

    def text(self) -> str:
        """Write the lines that every output of the fit starts with.

        Returns
        -------
        str
            One line of verdict, then each failed check, warnings, an interruption, the retries.
        """
        lines = [self._first_line(), *map(str, self.failures + self.warnings)]
        if self.attempts and self.attempts[-1].get("interrupted"):
            lines.append("warning: sampling was interrupted; these are the draws made until then")
        if len(self.attempts) > 1:
            log = (f"{a['divergences']} at target acceptance {a['target_accept']:g}" for a in self.attempts)
            lines.append(f"note: repeated because of divergences ({', '.join(log)})")
        if self.redrawn:
            s = "s" if len(self.redrawn) > 1 else ""
            lines.append(
                f"note: chains did not agree on the values of subject{s} {', '.join(self.redrawn)}, as where two sets "
                "of values explain the choices; these were drawn anew given the population, with jumps"
            )
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

    def _first_line(self) -> str:
        if self.status == "quick":
            return (
                "QUICK APPROXIMATION (Laplace), for a first look: not to be reported. "
                "Fit again without the quick option for a posterior."
            )
        if not self.checks:
            return "Nothing was estimated: this model has no free parameter."
        size = f"{self.n_chains} chain{'s' if self.n_chains > 1 else ''} x {self.n_draws} draws"
        if self.converged:
            r_hat = max((c.value for c in self.checks if c.name == "r_hat" and c.value), default=None)
            found = f", r_hat at most {r_hat:.3f}" if r_hat is not None else ""
            return f"Converged: {size}{found}, no divergences."
        n = len(self.failures)
        return f"NOT CONVERGED ({n} check{'s' if n > 1 else ''} failed; {size}): do not report these results."

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as dictionaries and lists, for ``verdict.json``.

        Examples
        --------
        >>> verdict = Verdict("quick", (), 1, 1000)
        >>> Verdict.from_dict(verdict.to_dict()) == verdict
        True
        """
        return {
            "status": self.status,
            "converged": self.converged,
            "n_chains": self.n_chains,
            "n_draws": self.n_draws,
            "attempts": [dict(a) for a in self.attempts],
            "redrawn": list(self.redrawn),
            "checks": [asdict(c) for c in self.checks],
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Verdict:
        """Read what `to_dict` gave.

        Raises
        ------
        FitError
            If it is not a verdict.
        """
        try:
            return cls(
                status=raw["status"],
                checks=tuple(Check(**c) for c in raw["checks"]),
                n_chains=raw["n_chains"],
                n_draws=raw["n_draws"],
                attempts=tuple(dict(a) for a in raw["attempts"]),
                redrawn=tuple(raw.get("redrawn", ())),
            )
        except (KeyError, TypeError) as error:
            raise FitError(
                f"this is not a verdict of fitrl ({type(error).__name__}: {error}). "
                "If another version of fitrl wrote it, read it with that version."
            ) from error


def judge(
    idata: xr.DataTree,
    parameters: Sequence[ParameterSpec],
    *,
    quick: bool = False,
    attempts: Sequence[Mapping[str, Any]] = (),
    known: Mapping[str, xr.Dataset] | None = None,
    redrawn: Sequence[str] = (),
) -> Verdict:
    """Pass the convergence gate over a fit.

    Group level is every variable without a subject dim; subject level is the natural-scale value of every
    parameter, in every cell of its design. Standard-normal offsets are not judged: the values they make are.

    Parameters
    ----------
    idata : DataTree
        With the groups ``posterior`` and, unless quick, ``sample_stats`` (names harmonised:
        ``diverging``, ``energy``, ``reached_max_treedepth``).
    parameters : sequence of ParameterSpec
        The fitted parameters; none for a model without any, which needs no draws and passes.
    quick : bool
        Whether the draws come from a Laplace approximation.
    attempts : sequence of mapping
        Log of the retries, the last one being this fit.
    known : mapping of str to Dataset, optional
        The `diagnostics` of the subjects' natural-scale values, if they are known; computed otherwise.
    redrawn : sequence of str
        Subjects whose values were drawn anew.

    Returns
    -------
    Verdict

    Raises
    ------
    FitError
        If there is nothing to judge: no draws, or none of the parameters.

    Notes
    -----
    Limits: rank R-hat 1.01 and 100 effective draws per chain (bulk and tail) at group level, no divergence,
    E-BFMI .2 (warning .3), 1 % of draws at the maximal tree depth (warning), Monte-Carlo error 5 % of
    the posterior sd (warning), 4 chains (warning; 1 chain fails). Subject level: fails if more than 1 % of
    quantities exceed R-hat 1.01 or any exceeds 1.05; few effective draws are a warning. With pooling "none"
    there is no group level and the subject rules stand alone. With complete pooling the subject values are
    copies of the location and are not judged.

    Examples
    --------
    >>> print(judge(fit.idata, fit.spec.parameters).text())  # doctest: +SKIP
    Converged: 4 chains x 1000 draws, r_hat at most 1.003, no divergences.
    """
    if not parameters:
        return Verdict("converged", (), 0, 0)
    if "posterior" not in idata.children or not idata["posterior"].data_vars:
        raise FitError("there are no draws to judge: the posterior is empty. Expected the draws of a fit.")
    posterior = idata["posterior"].to_dataset()
    group, subject = _levels(posterior, parameters)
    if not group.data_vars and not subject.data_vars:
        names = ", ".join(p.name for p in parameters)
        raise FitError(f"the posterior holds none of the parameters {names}. Expected the draws of a fit.")
    size = (posterior.sizes["chain"], posterior.sizes["draw"])
    log = tuple(dict(a) for a in attempts)
    if quick:
        return Verdict("quick", (), *size, log)
    checks = [
        *_sampler_checks(idata, size[0], log),
        *_group_checks(group),
        *_subject_checks(subject, known, with_mcse=not group.data_vars),
    ]
    failed = any(c.level == "fail" and not c.passed for c in checks)
    return Verdict("not converged" if failed else "converged", tuple(checks), *size, log, tuple(redrawn))


def _levels(posterior: xr.Dataset, parameters: Sequence[ParameterSpec]) -> tuple[xr.Dataset, xr.Dataset]:
    """Split the posterior into group-level and subject-level quantities."""
    group = [
        str(name)
        for name, v in posterior.data_vars.items()
        if not {"subject", "obs"} & set(v.dims) and f"{name}_cell" not in v.dims
    ]
    subject = [
        p.name
        for p in parameters
        if p.name in posterior
        and {"subject", f"{p.name}_cell"} & set(posterior[p.name].dims)
        # A location without a spread is complete pooling: the subject values repeat the location.
        and (f"{p.name}_mu" not in posterior or f"{p.name}_sigma" in posterior)
    ]
    return posterior[group], posterior[subject]


def _sampler_checks(idata: xr.DataTree, n_chains: int, attempts: Sequence[Mapping[str, Any]]) -> list[Check]:
    """Check what concerns the run as a whole."""
    one = n_chains < 2
    level, limit = ("fail", 2) if one else ("warn", CHAINS)
    advice = "convergence cannot be judged from one chain" if one else "R-hat of so few chains is weak"
    checks = [_check("chains", level, "sampler", n_chains, limit, "<", "", f"{advice}, sample {CHAINS}")]
    stats = idata["sample_stats"].to_dataset() if "sample_stats" in idata.children else xr.Dataset()
    missing = "the sampler did not record it; sample with nutpie or PyMC's own NUTS"
    n_divergent = float(stats["diverging"].sum()) if "diverging" in stats else None
    advice = _divergence_advice(attempts) if n_divergent is not None else missing
    checks.append(_check("divergences", "fail", "sampler", n_divergent, 0, ">", "", advice))

    checks.append(_bfmi_check(stats, missing))
    deep = float(stats["reached_max_treedepth"].mean()) if "reached_max_treedepth" in stats else None
    slow = "the sampler is slow here, raise maxdepth or look for two parameters that trade off"
    advice = missing if deep is None else slow
    checks.append(_check("tree_depth_share", "warn", "sampler", deep, TREE_DEPTH_SHARE, ">", "", advice))
    return checks


def _bfmi_check(stats: xr.Dataset, missing: str) -> Check:
    """Check the energy of the chain that explores it worst."""
    if "energy" not in stats:
        return _check("e_bfmi", "fail", "sampler", None, BFMI_FAIL, "<", "", missing)
    tree = xr.DataTree(children={"sample_stats": xr.DataTree(stats[["energy"]])})
    with np.errstate(invalid="ignore", divide="ignore"):  # constant energy: NaN, which fails below
        energy = az.bfmi(tree)["energy"]
    value, where = _worst(energy, smallest=True)
    where = where.replace("energy[", "chain ").removesuffix("]")
    low = value is None or value < BFMI_FAIL
    limit = BFMI_FAIL if low else BFMI_WARN
    advice = "heavy tails: tune longer, or tighten the prior of the between-subject scales"
    return _check("e_bfmi", "fail" if low else "warn", "sampler", value, limit, "<", where, advice)


def _group_checks(group: xr.Dataset) -> list[Check]:
    """Check each group-level variable at its worst element."""
    if not group.data_vars:
        return []
    n_chains = group.sizes["chain"]
    found = diagnostics(group)
    checks = []
    for name in map(str, group.data_vars):
        if n_chains > 1:  # the check of the chains already fails a single one
            value, where = _worst(found["r_hat"][name])
            checks.append(
                _check("r_hat", "fail", "group", value, R_HAT, ">", where, "run longer (more tune and draws)")
            )
        for ess in ("ess_bulk", "ess_tail"):
            value, where = _worst(found[ess][name], smallest=True)
            limit = ESS_PER_CHAIN * n_chains
            checks.append(_check(ess, "fail", "group", value, limit, "<", where, "draw more"))
        value, where = _worst(found["mcse_mean"][name] / found["sd"][name])
        advice = "the reported mean is imprecise, draw more"
        checks.append(_check("mcse_share", "warn", "group", value, MCSE_SHARE, ">", where, advice))
    return checks


def _subject_checks(subject: xr.Dataset, known: Mapping[str, xr.Dataset] | None, *, with_mcse: bool) -> list[Check]:
    """Check the subjects' natural-scale values together."""
    if not subject.data_vars:
        return []
    n_chains = subject.sizes["chain"]
    names = list(subject.data_vars)
    found = diagnostics(subject) if known is None else {name: values[names] for name, values in known.items()}
    checks = []
    if n_chains > 1:
        r_hat = np.concatenate([v.values.ravel() for v in found["r_hat"].data_vars.values()])
        # "not below the limit" and not "above": a NaN counts as exceeding it.
        share = float(np.mean(~(r_hat <= R_HAT)))
        advice = f"so many subject-level r_hat exceed {R_HAT:g}, run longer (more tune and draws)"
        checks.append(_check("r_hat_share", "fail", "subject", share, SHARE_SUBJECT, ">", "subjects", advice))
        value, where = _worst_of(found["r_hat"])
        advice = "run longer (more tune and draws) and look at the data of this subject"
        checks.append(_check("r_hat", "fail", "subject", value, R_HAT_SUBJECT, ">", where, advice))
    for ess in ("ess_bulk", "ess_tail"):
        value, where = _worst_of(found[ess], smallest=True)
        limit = ESS_PER_CHAIN * n_chains
        low = sum(int((v < limit).sum()) for v in found[ess].data_vars.values())
        advice = f"so few effective draws in {low} subject-level quantities, draw more to report them singly"
        # Without any number at all the draws are broken, which is more than a matter of precision.
        level = "fail" if value is None else "warn"
        checks.append(_check(ess, level, "subject", value, limit, "<", where, advice))
    if with_mcse:
        value, where = _worst_of(found["mcse_mean"] / found["sd"])
        advice = "the reported mean is imprecise, draw more"
        checks.append(_check("mcse_share", "warn", "subject", value, MCSE_SHARE, ">", where, advice))
    return checks


def _check(
    name: str,
    level: str,
    scope: str,
    value: float | None,
    limit: float,
    relation: str,
    where: str,
    advice: str,
) -> Check:
    """Compare a value with its limit."""
    if value is None:
        return Check(name, level, scope, False, None, float(limit), relation, where, advice)
    passed = value <= limit if relation == ">" else value >= limit
    return Check(name, level, scope, bool(passed), float(value), float(limit), relation, where, advice)


def _worst(values: xr.DataArray, *, smallest: bool = False) -> tuple[float | None, str]:
    """Find the largest (or smallest) element and its label; a NaN is worse than any number."""
    flat = values.values.ravel()
    broken = np.isnan(flat)
    find = np.argmin if smallest else np.argmax
    place = int(np.argmax(broken)) if broken.any() else int(find(flat))
    value = None if broken[place] else float(flat[place])
    index = np.unravel_index(place, values.shape)
    labels = [
        str(values[dim].values[i]) if dim in values.coords else str(i)
        for dim, i in zip(values.dims, index, strict=True)
    ]
    return value, f"{values.name}[{', '.join(labels)}]" if labels else str(values.name)


def _worst_of(found: xr.Dataset, *, smallest: bool = False) -> tuple[float | None, str]:
    """Find the worst element over all variables."""
    worst = [_worst(values, smallest=smallest) for values in found.data_vars.values()]
    sign = 1.0 if smallest else -1.0
    return min(worst, key=lambda w: -np.inf if w[0] is None else sign * w[0])


def _divergence_advice(attempts: Sequence[Mapping[str, Any]]) -> str:
    """Say what helps against divergences, given what has been tried."""
    tried = max((float(a["target_accept"]) for a in attempts), default=0.0)
    if tried < 0.99:
        return "parts of the posterior were not reached, repeat with target_accept=0.99"
    return (
        f"parts of the posterior were not reached, even at target acceptance {tried:g}: fix or pool "
        "a parameter that the data do not inform, or tighten its prior"
    )


def _shown(value: float, limit: float) -> tuple[str, str]:
    """Write value and limit with as few digits as tell them apart."""
    if float(value).is_integer() and float(limit).is_integer():
        return f"{value:.0f}", f"{limit:.0f}"
    for digits in range(3, 12):
        if value == limit or f"{value:.{digits}g}" != f"{limit:.{digits}g}":
            break
    return f"{value:.{digits}g}", f"{limit:g}"
