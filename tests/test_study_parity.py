"""Posteriors that Stan programs of hBayesDM gave on the same data, under the same priors."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fitrl
from fitrl.hierarchy.links import natural

SHARED = Path(__file__).parents[1].parent / "shared"

pytestmark = [
    pytest.mark.study,
    pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared folder beside the clone"),
]

CASES = {
    "bandit2arm_delta": ("q_learning", "hbayesdm_bandit2arm.txt", (), {"A": "alpha", "tau": "beta"}),
    "prl_rp": (
        "q_learning",
        "hbayesdm_prl.txt",
        [("dual_alpha", {"by": "outcome"})],
        {"Apun": "alpha_pun", "Arew": "alpha_rew", "beta": "beta"},
    ),
    "ts_par7": (
        "two_step_hbayesdm",
        "hbayesdm_ts.txt",
        (),
        {
            "a1": "alpha_1",
            "beta1": "beta_1",
            "a2": "alpha_2",
            "beta2": "beta_2",
            "pi": "kappa",
            "w": "w_mb",
            "lambda": "lam",
        },
    ),
}


def ours(fit, names):
    """Our mean and its Monte-Carlo error for every quantity of a reference file, under that file's names."""
    import arviz as az

    posterior = fit.idata["posterior"].to_dataset()
    draws = {}
    for k, (theirs, mine) in enumerate(names.items()):
        parameter = fit.plan.parameters[mine]
        draws[f"mu_pr[{k}]"] = posterior[f"{mine}_mu"]
        draws[f"sigma[{k}]"] = posterior[f"{mine}_sigma"]
        median = natural(posterior[f"{mine}_mu"], parameter.link, parameter.lower, parameter.upper)
        draws[f"mu_{theirs}"] = posterior[f"{mine}_mu"].copy(data=median)
        for i in range(posterior.sizes["subject"]):
            draws[f"{theirs}[{i}]"] = posterior[mine].isel(subject=i, drop=True)
    values = {name: d.transpose("chain", "draw").to_numpy() for name, d in draws.items()}
    tree = az.from_dict({"posterior": values})
    error = az.mcse(tree, method="mean")
    return pd.DataFrame({n: (v.mean(), float(error[n])) for n, v in values.items()}, index=["mean", "mcse"]).T


@pytest.mark.parametrize("program", CASES)
def test_posterior_agrees_with_stan(program):
    model, file, traits, names = CASES[program]
    fit = fitrl.fit(
        model,
        SHARED / "data" / file,
        traits=traits,
        priors="hbayesdm",
        random_seed=1,
        draws=2000,
        target_accept=0.95,
        progressbar=False,
    )
    assert fit.verdict.converged, fit.verdict.text()
    theirs = pd.read_csv(SHARED / "reference" / "posteriors" / f"{program}.csv", index_col="quantity")
    mine = ours(fit, names).loc[theirs.index]
    z = (mine["mean"] - theirs["mean"]) / np.hypot(mine["mcse"], theirs["mcse_mean"])
    print(f"{program}: {len(z)} quantities, largest |z| {z.abs().max():.2f}, {np.mean(z.abs() > 3):.1%} beyond 3")
    assert z.abs().max() < 4, z[z.abs() >= 4]
    assert (z.abs() > 3).mean() < 0.02
