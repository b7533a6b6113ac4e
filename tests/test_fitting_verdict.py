import json

import arviz as az
import numpy as np
import pytest
import xarray as xr

from fitrl.errors import FitError
from fitrl.fitting.diagnostics import diagnostics
from fitrl.fitting.spec import FitSpec, ParameterSpec
from fitrl.fitting.verdict import Verdict, judge

ALPHA = ParameterSpec("alpha", "learning rate", "logit", 0.0, 1.0, "", "normal(0, 1.5)", "halfnormal(1)")
SUBJECTS = ["07", "12", "3b"]


def tree(n_chains=4, n_draws=500, n_subjects=3, seed=1, **changes):
    """A well-mixed fit of one parameter; `changes` replace posterior variables or sample stats."""
    rng = np.random.default_rng(seed)
    size = (n_chains, n_draws)
    posterior = {
        "alpha_mu": rng.normal(size=size),
        "alpha_sigma": rng.normal(size=size) ** 2,
        "alpha_offset": rng.normal(size=(*size, n_subjects)),
        "alpha": rng.uniform(size=(*size, n_subjects)),
    }
    stats = {
        "diverging": np.zeros(size, dtype=bool),
        "energy": rng.normal(size=size),
        "reached_max_treedepth": np.zeros(size, dtype=bool),
    }
    for name, values in changes.items():
        target = stats if name in stats else posterior
        if values is None:
            del target[name]
        else:
            target[name] = values
    labels = SUBJECTS if n_subjects == 3 else [f"s{i}" for i in range(n_subjects)]
    return az.from_dict(
        {"posterior": posterior, "sample_stats": stats},
        coords={"subject": labels, "term": ["drug", "age"]},
        dims={"alpha": ["subject"], "alpha_offset": ["subject"], "alpha_b": ["term"]},
    )


def failing(verdict):
    return {(c.name, c.where) for c in verdict.failures}


def test_well_mixed_draws_converge_without_a_warning():
    verdict = judge(tree(), [ALPHA])
    assert verdict.converged
    assert verdict.status == "converged"
    assert not verdict.failures
    assert not verdict.warnings
    assert verdict.text().startswith("Converged: 4 chains x 500 draws, r_hat at most 1.0")
    assert "\n" not in verdict.text()


def test_one_shifted_chain_fails_with_parameter_number_limit_and_advice():
    sigma = tree()["posterior"]["alpha_sigma"].values.copy()
    sigma[2] += 1.0
    verdict = judge(tree(alpha_sigma=sigma), [ALPHA])
    assert not verdict.converged
    assert ("r_hat", "alpha_sigma") in failing(verdict)
    first, *rest = verdict.text().splitlines()
    assert first.startswith("NOT CONVERGED")
    assert "do not report" in first
    line = next(text for text in rest if text.startswith("FAIL r_hat[alpha_sigma] = 1."))
    assert "> 1.01: run longer" in line
    assert "run longer" in line


def test_a_chain_with_another_spread_fails_by_the_folded_r_hat():
    mu = tree()["posterior"]["alpha_mu"].values.copy()
    mu[0] *= 3
    dataset = xr.Dataset({"alpha_mu": (("chain", "draw"), mu)})
    bulk_only = az.rhat(dataset, sample_dims=["chain", "draw"], method="z_scale")
    assert float(bulk_only["alpha_mu"]) < 1.01
    assert ("r_hat", "alpha_mu") in failing(judge(tree(alpha_mu=mu), [ALPHA]))


def test_the_worst_element_of_an_effect_is_named():
    effect = np.random.default_rng(3).normal(size=(4, 500, 2))
    effect[1, :, 1] += 2
    verdict = judge(tree(alpha_b=effect), [ALPHA])
    assert ("r_hat", "alpha_b[age]") in failing(verdict)


def test_autocorrelated_group_draws_fail_on_effective_draws():
    steps = np.random.default_rng(2).normal(size=(4, 500))
    mu = np.zeros((4, 500))
    for i in range(1, 500):
        mu[:, i] = 0.95 * mu[:, i - 1] + steps[:, i]
    verdict = judge(tree(alpha_mu=mu), [ALPHA])
    names = failing(verdict)
    assert ("ess_bulk", "alpha_mu") in names
    check = next(c for c in verdict.failures if c.name == "ess_bulk")
    assert check.limit == 400
    assert check.value < 400
    assert ("mcse_share", "alpha_mu") in {(c.name, c.where) for c in verdict.warnings}


def test_low_ess_of_a_subject_is_a_warning_only():
    # Slow but common movement of all chains: few effective draws, no disagreement between chains.
    wave = np.sin(np.linspace(0, 40 * np.pi, 500))
    alpha = tree()["posterior"]["alpha"].values.copy()
    alpha[:, :, 1] = wave + 0.02 * alpha[:, :, 1]
    verdict = judge(tree(alpha=alpha), [ALPHA])
    assert ("ess_tail", "alpha[12]") in {(c.name, c.where) for c in verdict.warnings} or (
        "ess_bulk",
        "alpha[12]",
    ) in {(c.name, c.where) for c in verdict.warnings}
    assert not any(c.name.startswith("ess") for c in verdict.failures)


def test_a_single_divergence_fails_and_the_retries_are_told():
    diverging = np.zeros((4, 500), dtype=bool)
    diverging[3, 7] = True
    attempts = [{"target_accept": 0.9, "divergences": 12}, {"target_accept": 0.99, "divergences": 1}]
    verdict = judge(tree(diverging=diverging), [ALPHA], attempts=attempts)
    assert failing(verdict) == {("divergences", "")}
    assert "FAIL divergences = 1 > 0: " in verdict.text()
    assert "even at target acceptance 0.99" in verdict.text()
    assert "12 at target acceptance 0.9, 1 at target acceptance 0.99" in verdict.text()


def test_energy_fails_below_02_and_warns_below_03():
    rng = np.random.default_rng(5)

    def energy(correlation):
        walk = rng.normal(size=(4, 500))
        for i in range(1, 500):
            walk[2, i] = correlation * walk[2, i - 1] + walk[2, i] * np.sqrt(1 - correlation**2)
        return walk

    # For an autoregressive energy E-BFMI is 2 (1 - correlation).
    low = judge(tree(energy=energy(0.97)), [ALPHA])
    assert failing(low) == {("e_bfmi", "chain 2")}
    middling = judge(tree(energy=energy(0.875)), [ALPHA])
    assert middling.converged
    assert [(c.name, c.where, c.limit) for c in middling.warnings] == [("e_bfmi", "chain 2", 0.3)]


def test_tree_depth_warns_above_one_per_cent():
    deep = np.zeros((4, 500), dtype=bool)
    deep[0, :20] = True
    assert judge(tree(reached_max_treedepth=deep), [ALPHA]).converged
    assert not judge(tree(reached_max_treedepth=deep), [ALPHA]).warnings
    deep[0, 20] = True
    verdict = judge(tree(reached_max_treedepth=deep), [ALPHA])
    assert verdict.converged
    assert [c.name for c in verdict.warnings] == ["tree_depth_share"]


def test_two_chains_warn_and_one_chain_fails():
    two = judge(tree(n_chains=2, n_draws=1000), [ALPHA])
    assert two.converged
    assert [c.name for c in two.warnings] == ["chains"]
    one = judge(tree(n_chains=1, n_draws=2000), [ALPHA])
    assert failing(one) == {("chains", "")}


@pytest.mark.parametrize("constant", [0.3, np.inf, np.nan])
def test_draws_that_do_not_vary_never_pass(constant):
    group = judge(tree(alpha_sigma=np.full((4, 500), constant)), [ALPHA])
    expected = {("r_hat", "alpha_sigma"), ("ess_bulk", "alpha_sigma"), ("ess_tail", "alpha_sigma")}
    assert expected <= failing(group)
    assert "FAIL r_hat[alpha_sigma] could not be computed" in group.text()
    alpha = tree()["posterior"]["alpha"].values.copy()
    alpha[:, :, 2] = constant
    subject = judge(tree(alpha=alpha), [ALPHA])
    assert ("r_hat", "alpha[3b]") in failing(subject)


def test_chains_stuck_at_different_values_fail_and_can_be_written():
    stuck = np.repeat(np.array([[0.1], [0.2], [0.3], [0.4]]), 500, axis=1)
    verdict = judge(tree(alpha_mu=stuck), [ALPHA])
    assert ("r_hat", "alpha_mu") in failing(verdict)
    json.dumps(verdict.to_dict(), allow_nan=False)


def test_missing_sampler_statistics_never_pass():
    verdict = judge(tree(diverging=None, energy=None, reached_max_treedepth=None), [ALPHA])
    assert failing(verdict) == {("divergences", ""), ("e_bfmi", "")}
    assert [c.name for c in verdict.warnings] == ["tree_depth_share"]
    assert "did not record it" in verdict.text()
    constant = judge(tree(energy=np.ones((4, 500))), [ALPHA])
    assert {name for name, _ in failing(constant)} == {"e_bfmi"}


def shifted_subjects(n_shifted, shift, n_subjects=200):
    rng = np.random.default_rng(11)
    alpha = rng.normal(size=(4, 1000, n_subjects))
    alpha[0, :, :n_shifted] += shift
    return tree(n_draws=1000, n_subjects=n_subjects, alpha=alpha, alpha_offset=np.zeros((4, 1000, n_subjects)))


def test_subject_level_allows_one_per_cent_above_101_but_none_above_105():
    # A shift of one chain by 0.3 sd gives r_hat of about 1.02; by 0.8 sd about 1.1.
    few = judge(shifted_subjects(2, 0.35), [ALPHA])
    worst = next(c for c in few.checks if c.name == "r_hat" and c.scope == "subject")
    assert 1.01 < worst.value < 1.05
    assert few.converged
    many = judge(shifted_subjects(3, 0.35), [ALPHA])
    assert failing(many) == {("r_hat_share", "subjects")}
    one = judge(shifted_subjects(1, 0.9), [ALPHA])
    assert failing(one) == {("r_hat", "alpha[s0]")}


def test_no_pooling_is_judged_by_the_subject_rules_alone():
    bare = tree(alpha_mu=None, alpha_sigma=None, alpha_offset=None)
    verdict = judge(bare, [ALPHA])
    assert verdict.converged
    assert {c.scope for c in verdict.checks} == {"sampler", "subject"}
    assert "mcse_share" in {c.name for c in verdict.checks}


def test_complete_pooling_does_not_judge_copies_of_the_location():
    mu = np.random.default_rng(0).normal(size=(4, 500))
    copies = np.repeat(mu[..., None], 3, axis=-1)
    verdict = judge(tree(alpha_sigma=None, alpha_offset=None, alpha_mu=mu, alpha=copies), [ALPHA])
    assert verdict.converged
    assert {c.scope for c in verdict.checks} == {"sampler", "group"}


def test_a_quick_fit_is_never_converged():
    verdict = judge(tree(n_chains=1), [ALPHA], quick=True)
    assert verdict.status == "quick"
    assert not verdict.converged
    assert "QUICK APPROXIMATION (Laplace)" in verdict.text().splitlines()[0]
    assert "not to be reported" in verdict.text().splitlines()[0]


def test_nothing_to_judge_is_an_error():
    with pytest.raises(FitError, match="the posterior is empty"):
        judge(az.from_dict({"posterior": {}}), [ALPHA])
    offsets = tree(alpha_mu=None, alpha_sigma=None, alpha=None)
    with pytest.raises(FitError, match="none of the parameters alpha"):
        judge(offsets, [ALPHA])


def test_a_model_without_parameters_passes_without_draws():
    verdict = judge(xr.DataTree(), [])
    assert verdict.converged
    assert verdict.text() == "Nothing was estimated: this model has no free parameter."


def test_an_interruption_is_told():
    attempts = [{"target_accept": 0.9, "divergences": 0, "interrupted": True}]
    lines = judge(tree(), [ALPHA], attempts=attempts).text().splitlines()
    assert lines[1:] == ["warning: sampling was interrupted; these are the draws made until then"]


def test_verdict_survives_json():
    sigma = np.full((4, 500), 0.2)
    attempts = [{"target_accept": 0.9, "divergences": 0}]
    verdict = judge(tree(alpha_sigma=sigma), [ALPHA], attempts=attempts)
    text = json.dumps(verdict.to_dict(), allow_nan=False)
    assert Verdict.from_dict(json.loads(text)) == verdict
    with pytest.raises(FitError, match="not a verdict"):
        Verdict.from_dict({"status": "converged"})


def test_a_value_just_over_the_limit_is_not_printed_as_the_limit():
    found = judge(tree(), [ALPHA]).checks
    check = next(c for c in found if c.name == "r_hat")
    close = type(check)("r_hat", "fail", "group", False, 1.01004, 1.01, ">", "alpha_mu", "run longer")
    assert str(close) == "FAIL r_hat[alpha_mu] = 1.01004 > 1.01: run longer"


def test_diagnostics_are_those_of_arviz():
    draws = tree()["posterior"].to_dataset()[["alpha"]]
    found = diagnostics(draws)
    for i in range(3):
        one = draws["alpha"].values[:, :, i]
        expected = az.rhat(one, chain_axis=0, draw_axis=1, method="rank")
        assert found["r_hat"]["alpha"].values[i] == pytest.approx(float(expected))
        expected = az.ess(one, chain_axis=0, draw_axis=1, method="tail", prob=0.05)
        assert found["ess_tail"]["alpha"].values[i] == pytest.approx(float(expected))


def test_the_declaration_survives_json():
    wide = ParameterSpec("kappa", "stickiness", "identity", -np.inf, np.inf, "outcome", "normal(0, 1)", "halfnormal(1)")
    spec = FitSpec(
        model="q_learning",
        source="class M:\n    'é'\n",
        traits=(("dual_alpha", {"by": "outcome"}), ("stickiness", {})),
        options={"q0": None, "grid": (1, (2, 3))},
        parameters=(ALPHA, wide),
        pooling="partial",
        fixed={"beta": 3.0},
        priors="default",
        quick=False,
        seed=1,
        sample_kwargs={"draws": np.int64(1000), "random_seed": [1, 2]},
        attempts=({"target_accept": 0.9, "divergences": 0},),
        versions={"pymc": "6.4.0"},
        timings={"sample": 3.25},
    )
    text = spec.to_json()
    json.loads(text, parse_constant=pytest.fail)  # no Infinity, which is not JSON
    assert FitSpec.from_json(text) == spec


def test_a_declaration_that_cannot_be_stored_names_its_place():
    spec = FitSpec("m", None, (), {"start": object()}, (), "partial", {}, "default", False, 1, {}, (), {}, {})
    with pytest.raises(FitError, match=r"spec\.options\['start'\] is a object"):
        spec.to_json()
    with pytest.raises(FitError, match="not the declaration of a fit"):
        FitSpec.from_json("[1, 2]")
