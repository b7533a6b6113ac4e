import arviz as az
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from fitrl.errors import FitError
from fitrl.fitting.spec import ParameterSpec
from fitrl.fitting.tables import STATISTICS, group_table, population_draws, subject_table
from fitrl.hierarchy.links import natural
from fitrl.hierarchy.plan import unit_factor

INF = float("inf")
ALPHA = ParameterSpec("alpha", "learning rate", "logit", 0.0, 1.0, "", "normal(0, 1.5)", "halfnormal(1)")
BETA = ParameterSpec("beta", "inverse temperature", "log", 0.0, INF, "1/outcome", "normal(1, 0.8)", "halfnormal(0.5)")
Q0 = ParameterSpec("q0", "initial value", "identity", -INF, INF, "outcome", "normal(0, 1)", "halfnormal(1)")
TAU = ParameterSpec("tau", "slope", "probit_approx", 0.0, 5.0, "1/outcome", "normal(0, 1)", "halfnormal(1)")
ALL = (ALPHA, BETA, Q0, TAU)
SUBJECTS = ["b", "a", "10"]
SIZE = (4, 250)


def tree(parameters=ALL, seed=1, pooling="partial", n_chains=4):
    rng = np.random.default_rng(seed)
    posterior, size = {}, (n_chains, SIZE[1])
    for p in parameters:
        mu = rng.normal(0.3, 0.2, size=size)
        sigma = np.abs(rng.normal(0.8, 0.1, size=size))
        offset = rng.normal(size=(*size, 3))
        if pooling != "none":
            posterior[f"{p.name}_mu"] = mu
        if pooling == "partial":
            posterior[f"{p.name}_sigma"] = sigma
        eta = mu[..., None] + sigma[..., None] * offset
        posterior[p.name] = natural(eta, p.link, p.lower, p.upper)
    dims = {p.name: ["subject"] for p in parameters}
    return az.from_dict({"posterior": posterior}, coords={"subject": SUBJECTS}, dims=dims)


def row(table, parameter, quantity):
    found = table[(table["parameter"] == parameter) & (table["quantity"] == quantity)]
    assert len(found) == 1
    return found.iloc[0]


def test_columns_and_rows_of_the_group_table():
    table = group_table(tree(), ALL, 1.0, "partial")
    assert list(table.columns) == ["parameter", "quantity", *STATISTICS]
    assert list(table["quantity"][:5]) == ["location", "scale", "pop_median", "pop_mean", "sample_mean"]
    assert list(table["parameter"].unique()) == ["alpha", "beta", "q0", "tau"]
    assert len(table) == 20
    assert not table.isna().any().any()


def test_statistics_are_those_of_the_draws():
    idata = tree()
    draws = idata["posterior"]["alpha_mu"].values
    found = row(group_table(idata, ALL, 1.0, "partial"), "alpha", "location")
    assert found["post_mean"] == pytest.approx(draws.mean())
    assert found["post_sd"] == pytest.approx(draws.std(ddof=1))
    # The shortest interval that holds 95 % of the draws.
    ordered = np.sort(draws.ravel())
    n = int(np.floor(0.95 * ordered.size))
    start = np.argmin(ordered[n:] - ordered[: ordered.size - n])
    assert found["hdi95_lower"] == pytest.approx(ordered[start], abs=1e-9)
    assert found["hdi95_upper"] == pytest.approx(ordered[start + n], abs=1e-9)
    assert found["r_hat"] == pytest.approx(float(az.rhat(draws, method="rank", chain_axis=0, draw_axis=1)))
    assert found["mcse_mean"] == pytest.approx(draws.std() / np.sqrt(draws.size), rel=0.15)


@pytest.mark.parametrize("parameter", [ALPHA, BETA, Q0, TAU], ids=lambda p: p.link)
@pytest.mark.parametrize(("mu", "sigma"), [(0.3, 0.8), (-2.0, 2.5), (1.0, 0.0)])
def test_population_mean_is_the_integral_over_subjects(parameter, mu, sigma):
    name = parameter.name
    posterior = {
        f"{name}_mu": np.full((1, 4), mu),
        f"{name}_sigma": np.full((1, 4), sigma),
    }
    draws = population_draws(az.from_dict({"posterior": posterior}), [parameter], 1.0)

    def value(z):
        return float(natural(mu + sigma * z, parameter.link, parameter.lower, parameter.upper)) * norm.pdf(z)

    expected, _ = quad(value, -12, 12, epsabs=1e-12, limit=200)
    assert draws[f"{name}_pop_mean"].values == pytest.approx(expected, rel=2e-4)
    median = natural(mu, parameter.link, parameter.lower, parameter.upper)
    assert draws[f"{name}_pop_median"].values == pytest.approx(float(median))


def test_population_mean_against_monte_carlo_draw_by_draw():
    rng = np.random.default_rng(4)
    mu, sigma = rng.normal(size=(2, 3)), np.abs(rng.normal(1.0, 0.3, size=(2, 3)))
    idata = az.from_dict({"posterior": {"alpha_mu": mu, "alpha_sigma": sigma}})
    found = population_draws(idata, [ALPHA], 1.0)["alpha_pop_mean"].values
    people = rng.normal(size=400_000)
    for i in np.ndindex(mu.shape):
        brute = 1 / (1 + np.exp(-(mu[i] + sigma[i] * people)))
        assert found[i] == pytest.approx(brute.mean(), abs=4 * brute.std() / np.sqrt(people.size))


def test_sample_mean_is_over_the_subjects_per_draw():
    idata = tree()
    draws = population_draws(idata, ALL, 1.0)
    assert draws["beta_sample_mean"].values == pytest.approx(idata["posterior"]["beta"].values.mean(axis=-1))
    assert set(draws["beta_sample_mean"].dims) == {"chain", "draw"}


def test_outcome_scale_is_undone_in_every_row():
    scaled, plain = group_table(tree(), ALL, 100.0, "partial"), group_table(tree(), ALL, 1.0, "partial")
    for quantity in ("location", "scale", "pop_median", "pop_mean", "sample_mean"):
        assert row(scaled, "alpha", quantity)["post_mean"] == row(plain, "alpha", quantity)["post_mean"]
        ratio = row(scaled, "q0", quantity)["post_mean"] / row(plain, "q0", quantity)["post_mean"]
        assert ratio == pytest.approx(100.0)
    for quantity in ("pop_median", "pop_mean", "sample_mean"):
        for name in ("beta", "tau"):
            new, old = row(scaled, name, quantity), row(plain, name, quantity)
            for column in ("post_mean", "post_sd", "hdi95_lower", "hdi95_upper", "mcse_mean"):
                assert new[column] == pytest.approx(old[column] / 100)
            # Equal up to ties of the folded draws, which rounding breaks.
            assert new["r_hat"] == pytest.approx(old["r_hat"], abs=1e-3)
            assert new["ess_bulk"] == pytest.approx(old["ess_bulk"], rel=1e-3)
    shift = row(scaled, "beta", "location")["post_mean"] - row(plain, "beta", "location")["post_mean"]
    assert shift == pytest.approx(-np.log(100))
    assert row(scaled, "beta", "scale")["post_mean"] == row(plain, "beta", "scale")["post_mean"]
    # The bounds of a two-sided link carry the unit.
    assert row(scaled, "tau", "location")["post_mean"] == row(plain, "tau", "location")["post_mean"]


def test_the_location_of_a_log_link_is_the_log_of_the_reported_median():
    idata = tree()
    location = group_table(idata, [BETA], 20.0, "partial").iloc[0]
    median = population_draws(idata, [BETA], 20.0)["beta_pop_median"]
    assert location["post_mean"] == pytest.approx(float(np.log(median).mean()))


def test_subject_table_is_in_the_order_and_unit_of_the_data():
    idata = tree()
    table = subject_table(idata, ALL, 100.0)
    assert list(table.columns) == ["subject", "parameter", *STATISTICS]
    assert list(table["subject"]) == [s for s in SUBJECTS for _ in ALL]
    assert list(table["parameter"][:4]) == ["alpha", "beta", "q0", "tau"]
    draws = idata["posterior"]["beta"].sel(subject="a").values
    found = table[(table["subject"] == "a") & (table["parameter"] == "beta")].iloc[0]
    assert found["post_mean"] == pytest.approx(draws.mean() / 100)
    assert found["hdi95_lower"] < found["post_mean"] < found["hdi95_upper"]


def test_subject_table_keeps_further_dims():
    draws = np.random.default_rng(0).uniform(size=(4, 50, 3, 2))
    idata = az.from_dict(
        {"posterior": {"alpha": draws}},
        coords={"subject": SUBJECTS, "session": ["off", "on"]},
        dims={"alpha": ["subject", "session"]},
    )
    table = subject_table(idata, [ALPHA], 1.0)
    assert list(table.columns[:3]) == ["subject", "session", "parameter"]
    assert list(table["session"][:2]) == ["off", "on"]
    assert table["post_mean"].iloc[3] == pytest.approx(draws[:, :, 1, 1].mean())


@pytest.mark.parametrize(
    ("pooling", "quantities"), [("complete", ["location", "pop_median"]), ("none", ["sample_mean"])]
)
def test_pooling_decides_the_quantities(pooling, quantities):
    idata = tree([BETA], pooling=pooling)
    assert list(group_table(idata, [BETA], 1.0, pooling)["quantity"]) == quantities
    with pytest.raises(FitError, match=f"cannot give the {'scale' if pooling == 'complete' else 'location'}"):
        group_table(idata, [BETA], 1.0, "partial")


def test_quick_fits_have_no_chain_diagnostics():
    idata = tree(n_chains=1)
    for table in (
        group_table(idata, ALL, 1.0, "partial", quick=True),
        subject_table(idata, ALL, 1.0, quick=True),
    ):
        assert table[["mcse_mean", "ess_bulk", "ess_tail", "r_hat"]].isna().all().all()
        assert not table[["post_mean", "post_sd", "hdi95_lower", "hdi95_upper"]].isna().any().any()


def test_a_model_without_parameters_has_empty_tables():
    nothing = az.from_dict({"posterior": {}})
    assert list(group_table(nothing, [], 1.0, "partial").columns) == ["parameter", "quantity", *STATISTICS]
    assert list(subject_table(nothing, [], 1.0).columns) == ["subject", "parameter", *STATISTICS]


def test_mistakes_say_what_was_expected():
    with pytest.raises(FitError, match="expected one of partial, complete, none"):
        group_table(tree(), ALL, 1.0, "some")
    with pytest.raises(FitError, match="no subject values of alpha"):
        subject_table(az.from_dict({"posterior": {"alpha_mu": np.ones((4, 10))}}), [ALPHA], 1.0)
    with pytest.raises(FitError, match="no posterior group"):
        group_table(az.from_dict({"prior": {"alpha_mu": np.ones((4, 10))}}), [ALPHA], 1.0, "partial")
    with pytest.raises(FitError, match="outcome scale is 0"):
        unit_factor(BETA, 0.0)
