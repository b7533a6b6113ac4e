"""Figures: the right numbers at the right places, warnings on top, nothing cut off or changed globally."""

from types import SimpleNamespace

import arviz as az
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import scipy.stats

mpl.use("agg")
import matplotlib.pyplot as plt
from matplotlib.text import Text

from fitrl.errors import FitError
from fitrl.fitting.spec import ParameterSpec
from fitrl.hierarchy.links import link_of, natural
from fitrl.show import effects, figures, reliability, style
from fitrl.show.posterior import prior_density

ALPHA = ParameterSpec("alpha", "learning rate", "logit", 0.0, 1.0, "", "normal(0, 1.5)", "halfnormal(1)")
BETA = ParameterSpec(
    "beta", "inverse temperature", "log", 0.0, np.inf, "1/outcome", "normal(1.1, 0.8)", "halfnormal(0.5)"
)
KAPPA = ParameterSpec("kappa", "stickiness", "identity", -np.inf, np.inf, "", "normal(0, 1)", "halfnormal(1)")
LONG = ParameterSpec(
    "alpha_neg",
    "learning rate after negative prediction errors",
    "probit_approx",
    0.0,
    1.0,
    "",
    "normal(0, 1)",
    "halfcauchy(5)",
)
SEVEN = [
    ALPHA,
    BETA,
    KAPPA,
    LONG,
    *(
        ParameterSpec(
            f"gamma_{i}",
            "weight of the remaining cues",
            "identity",
            -np.inf,
            np.inf,
            "",
            "uniform(-9, 9)",
            "",
        )
        for i in range(3)
    ),
]


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def make_fit(parameters, n_subjects=6, *, status="converged", pooling="partial", scale=1.0, chains=4, seed=1):
    """A fit with known draws: everything that the figures read, and nothing else."""
    rng = np.random.default_rng(seed)
    posterior, dims = {}, {}
    for p in parameters:
        mu = rng.normal(-0.5, 0.2, (chains, 200))
        eta = mu[..., None] + rng.normal(0, 0.5, n_subjects) + rng.normal(0, 0.3, (chains, 200, n_subjects))
        if pooling != "none":
            posterior[f"{p.name}_mu"] = mu
        if pooling == "partial":
            posterior[f"{p.name}_sigma"] = np.abs(rng.normal(0.5, 0.1, (chains, 200)))
        posterior[p.name] = natural(eta, p.link, p.lower, p.upper)
        dims[p.name] = ["subject"]
    ids = [f"id{i}" for i in range(n_subjects)]
    subject_idx = np.repeat(np.arange(n_subjects), 10)
    frame = pd.DataFrame({"subject_idx": subject_idx, "mask_choice": True, "mask_update": True})
    return SimpleNamespace(
        spec=SimpleNamespace(model="q_learning", parameters=tuple(parameters), pooling=pooling),
        trials=SimpleNamespace(frame=frame, outcome_scale=scale),
        idata=az.from_dict({"posterior": posterior}, dims=dims, coords={"subject": ids}),
        verdict=SimpleNamespace(status=status, converged=status == "converged"),
    )


def table(x, mean, half=0.05):
    mean = np.asarray(mean, float)
    return pd.DataFrame({"x": x, "mean": mean, "lower": mean - half, "upper": mean + half})


def texts(fig):
    return [t for t in fig.findobj(Text) if t.get_visible() and t.get_text().strip()]


def outside_view(fig):
    """Tick labels that matplotlib keeps but does not draw."""
    hidden = []
    for ax in fig.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            margin = 1e-9 * (high - low)
            ticks = axis.get_major_ticks()
            hidden += [t.label1 for t in ticks if not low - margin <= t.get_loc() <= high + margin]
    return set(hidden)


def all_text(fig):
    return "\n".join(t.get_text() for t in texts(fig))


DRAW = {
    "group": lambda fit: figures.plot_group(fit),
    "subjects": lambda fit: figures.plot_subjects(fit),
    "trace": lambda fit: figures.plot_trace(fit),
    "learning": lambda fit: figures.plot_learning(table([1, 2], [0.5, 0.8]), fit=fit),
    "reversal": lambda fit: figures.plot_reversal(table([-1, 0], [0.8, 0.2]), fit=fit),
    "stay": lambda fit: figures.plot_stay(table(["stay after win"], [0.8]), fit=fit),
    "accuracy": lambda fit: figures.plot_accuracy(table(["all"], [0.8]), fit=fit),
}


@pytest.mark.parametrize("name", DRAW)
def test_warnings_stand_on_top_of_every_figure(name):
    converged, _ = DRAW[name](make_fit([ALPHA]))
    assert "do not report" not in all_text(converged)
    failed, _ = DRAW[name](make_fit([ALPHA], status="not converged"))
    assert failed.get_suptitle() == "NOT CONVERGED - do not report"
    if name != "trace":
        quick, _ = DRAW[name](make_fit([ALPHA], status="quick"))
        assert quick.get_suptitle() == "QUICK APPROXIMATION - do not report"


@pytest.mark.parametrize("name", DRAW)
def test_global_settings_are_left_alone(name):
    before = dict(mpl.rcParams)
    DRAW[name](make_fit([ALPHA]))
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("parameters", [[ALPHA], SEVEN], ids=["one", "seven"])
@pytest.mark.parametrize("n_subjects", [2, 60])
@pytest.mark.parametrize("name", ["group", "subjects", "trace"])
def test_text_is_readable_and_inside_the_figure(name, parameters, n_subjects):
    fig, axes = DRAW[name](make_fit(parameters, n_subjects, status="not converged", scale=100))
    assert len(axes) == len(parameters) * (4 if name == "trace" else 1)
    check_text(fig)


def check_text(fig):
    """All text is large enough, inside the figure, and overlaps nothing."""
    fig.canvas.draw()
    width, height = fig.canvas.get_width_height()
    drawn = [text for text in texts(fig) if text not in outside_view(fig)]
    boxes = np.array([text.get_window_extent().extents for text in drawn])
    assert all(text.get_fontsize() >= 9 for text in drawn)
    assert boxes[:, :2].min() >= 0
    assert (boxes[:, 2] <= width).all()
    assert (boxes[:, 3] <= height).all()
    apart = np.maximum(boxes[:, None, :2], boxes[:, :2]) > np.minimum(boxes[:, None, 2:], boxes[:, 2:]) - 1
    overlapping = np.argwhere(np.triu(~apart.any(axis=2), 1))
    assert [(drawn[i].get_text(), drawn[j].get_text()) for i, j in overlapping] == []


@pytest.fixture
def with_effects(monkeypatch):
    """Make a fit whose table of effects is known: two effects per parameter, and one on the spread of the first."""

    def make(parameters, **kwargs):
        rows = []
        for i, p in enumerate(parameters):
            for k, effect in enumerate(("drug[amisulpride - placebo]", "age")):
                center = (-0.64, 0.0123)[k] * (1 + i)
                row = {"parameter": p.name, "effect": effect, "post_mean": center, "median_change_mean": center / 4}
                for bound, sign in (("hdi95_lower", -1), ("hdi95_upper", 1)):
                    row |= {bound: center + 0.5 * sign, f"median_change_{bound}": center / 4 + 0.1 * sign}
                rows.append(row)
        of_spread = {"effect": "sd(group[patient - control])", "post_mean": np.log(2), "median_change_mean": np.nan}
        bounds = {"hdi95_lower": 0.0, "hdi95_upper": np.log(4)}
        rows.append({"parameter": parameters[0].name, **of_spread, **bounds})
        fit = make_fit(parameters, **kwargs)
        fit.plan = SimpleNamespace(effects=[p.name for p in parameters])
        monkeypatch.setattr(effects, "effects", lambda _: pd.DataFrame(rows))
        return fit

    return make


@pytest.mark.parametrize("parameters", [[ALPHA], SEVEN], ids=["one", "seven"])
def test_text_of_effects_is_readable(with_effects, parameters):
    fig, axes = effects.plot_effects(with_effects(parameters, status="not converged"))
    assert len(axes) == len(parameters)
    check_text(fig)


def test_effects_are_named_by_their_scale_and_say_the_change_of_the_median(with_effects):
    wide = ParameterSpec("rho", "reach", "logit", -1.0, 1.0, "", "normal(0, 1)", "halfnormal(1)")
    bias = ParameterSpec("bias", "bias", "identity", -np.inf, np.inf, "outcome", "normal(0, 1)", "halfnormal(1)")
    fit = with_effects([ALPHA, BETA, LONG, wide, bias], scale=100)
    _, axes = effects.plot_effects(fit)
    assert [ax.get_xlabel().replace("\n", " ") for ax in axes] == [
        "effect on the log-odds of the learning rate (alpha)",
        "effect on the log of the inverse temperature (beta)",
        "effect on the probit of the learning rate after negative prediction errors (alpha_neg)",
        "effect on the log-odds of the reach (rho) between -1 and 1",
        "effect on the bias (bias, outcome units)",
    ]
    # From the bottom row up, which is the order of the table from its end.
    said = [text.get_text() for text in axes[0].texts]
    assert said[:3] == ["sd \N{MULTIPLICATION SIGN} 2 [1, 4]", "0.0031 [-0.097, 0.1]", "-0.16 [-0.26, -0.06]"]
    # The grey region is in the unit of the effects: sigma is in that of the scaled outcomes.
    half = 0.1 * 100 * float(fit.idata["posterior"]["bias_sigma"].mean())
    assert axes[4].patches[0].get_extents().transformed(axes[4].transData.inverted()).x1 == pytest.approx(half)
    _, mine = plt.subplots(1, 5)
    effects.plot_effects(fit, ax=mine)
    assert not any(ax.texts for ax in mine)


@pytest.mark.parametrize("parameter", [ALPHA, BETA, KAPPA, LONG], ids=["logit", "log", "identity", "probit_approx"])
@pytest.mark.parametrize("window", [(0.002, 0.998), (0.04, 0.4), (0.21, 0.49), (0.313, 0.362), (0.921, 0.988)])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_stretched_axes_have_labels_of_the_natural_scale(parameter, window, scale):
    """At least three, apart from each other, however narrow the window."""
    link = (parameter.link, parameter.lower, parameter.upper)
    _, ax = plt.subplots()
    ends = link_of(window, *link)
    ax.set(xlim=ends, ylim=ends)
    reliability._natural_ticks(ax, parameter, scale)
    factor = 1 / scale if parameter.unit else 1.0
    for axis in (ax.xaxis, ax.yaxis):
        places, labels = axis.get_ticklocs(), [tick.get_text() for tick in axis.get_ticklabels()]
        assert 3 <= len(labels) <= 7
        np.testing.assert_allclose(natural(places, *link) * factor, [float(label) for label in labels])
        assert ((places > ends[0]) & (places < ends[1])).all()
        assert np.diff(places).min() >= 0.15 * np.ptp(ends)


def test_users_axes_are_used_and_warned():
    mine, axes = plt.subplots(1, 2)
    fig, used = figures.plot_group(make_fit([ALPHA, BETA], status="not converged"), ax=axes)
    assert fig is mine
    assert list(used) == list(axes)
    for ax in axes:
        assert style.NOT_CONVERGED in [t.get_text() for t in ax.texts]
    with pytest.raises(FitError, match=r"holds 2 axes; this figure has 1 panel"):
        figures.plot_group(make_fit([ALPHA]), ax=axes)


@pytest.mark.parametrize("parameter", [ALPHA, BETA, KAPPA, LONG], ids=["logit", "log", "identity", "probit_approx"])
def test_prior_density_is_that_of_the_sampled_prior(parameter):
    scale = 10.0
    factor = 1 / scale if parameter.unit else 1.0
    mean, sd = (float(a) for a in parameter.location[7:-1].split(","))
    eta = scipy.stats.norm(mean, sd).ppf((np.arange(200_000) + 0.5) / 200_000)
    draws = factor * natural(eta, parameter.link, parameter.lower, parameter.upper)
    low, high = np.quantile(draws, [0.2, 0.8])
    x = np.linspace(low, high, 2001)
    density = prior_density(parameter, x, scale)
    share = np.sum((density[1:] + density[:-1]) / 2 * np.diff(x))
    assert share == pytest.approx(0.6, abs=0.002)
    middle = density[:1001], x[:1001]
    half = np.sum((middle[0][1:] + middle[0][:-1]) / 2 * np.diff(middle[1]))
    assert half == pytest.approx(np.mean((draws > low) & (draws < x[1000])), abs=0.002)


@pytest.mark.parametrize("family", ["halfnormal(1)", "halfcauchy(2)", "uniform(0, 3)", "exponential(2)"])
def test_every_prior_family_has_a_density(family):
    parameter = ParameterSpec("k", "k", "identity", -np.inf, np.inf, "", family, "")
    x = np.linspace(-1, 4, 101)
    density = prior_density(parameter, x)
    assert np.all(density[x < 0] == 0)
    assert density[np.argmin(np.abs(x - 0.5))] > 0.2


def test_group_panel_shows_the_hdi_in_the_users_unit():
    fit = make_fit([BETA], scale=100)
    _, (ax,) = figures.plot_group(fit)
    draws = np.exp(fit.idata["posterior"]["beta_mu"].to_numpy()) / 100
    low, high = az.hdi(draws.ravel(), prob=0.95)
    bar = next(line for line in ax.lines if line.get_linewidth() == 3)
    np.testing.assert_allclose(bar.get_xdata(), [low, high])
    assert ax.get_title(loc="center").startswith(f"{draws.mean():.4f}"[:5])
    assert ax.get_xlabel().replace("\n", " ") == "inverse temperature (beta, per outcome unit)"
    curve = ax.lines[0].get_xydata()
    assert np.sum(np.diff(curve[:, 0]) * curve[1:, 1]) == pytest.approx(1, abs=0.01)
    assert curve[curve[:, 1].argmax(), 0] == pytest.approx(np.median(draws), rel=0.15)


def test_group_without_pooling_shows_the_sample_mean_and_no_prior():
    fig, _ = figures.plot_group(make_fit([ALPHA], pooling="none"))
    assert "mean of these subjects" in all_text(fig)
    assert "prior" not in all_text(fig)


def test_draws_that_never_move_are_drawn_as_a_line():
    fit = make_fit([ALPHA])
    fit.idata["posterior"]["alpha_mu"] = fit.idata["posterior"]["alpha_mu"] * 0.0
    fig, (ax,) = figures.plot_group(fit)
    assert ax.get_title(loc="center").startswith("0.50")
    fig.canvas.draw()
    trace, _ = figures.plot_trace(fit)
    assert "R-hat unknown" in all_text(trace)


def test_subjects_are_sorted_with_their_intervals_and_ids():
    fit = make_fit([ALPHA], n_subjects=5)
    _, (ax,) = figures.plot_subjects(fit)
    draws = fit.idata["posterior"]["alpha"]
    mean = draws.mean(["chain", "draw"]).to_numpy()
    order = np.argsort(mean)
    bars, dots = ax.collections
    np.testing.assert_allclose(dots.get_offsets()[:, 1], mean[order])
    hdi = az.hdi(draws.to_dataset(name="x"), prob=0.95)["x"].to_numpy()[order]
    np.testing.assert_allclose([segment[:, 1] for segment in bars.get_segments()], hdi)
    assert [t.get_text() for t in ax.get_xticklabels()] == [f"id{i}" for i in order]
    median = scipy.special.expit(fit.idata["posterior"]["alpha_mu"].to_numpy()).mean()
    assert ax.lines[0].get_ydata()[0] == pytest.approx(median)


def test_shrinkage_is_the_share_of_variance_within_subjects():
    fit = make_fit([KAPPA], n_subjects=3)
    chain = np.array([-1.0, 1.0])
    values = np.array([0.0, 2.0, 4.0]) + np.tile(chain, 100)[:, None] * np.ones(3)
    old = fit.idata["posterior"]["kappa"]
    fit.idata["posterior"]["kappa"] = old.copy(data=np.tile(values, (4, 1, 1)))
    _, (ax,) = figures.plot_subjects(fit)
    # Means 0, 2, 4: variance 4; within: 1 (times 800/799). 1 - 4 / (4 + 1) = 0.2.
    assert ax.get_title(loc="left") == "shrinkage 0.20"


def test_colour_tells_the_number_of_scored_trials_where_it_differs():
    fit = make_fit([ALPHA], n_subjects=3)
    same, _ = figures.plot_subjects(fit)
    assert len(same.axes) == 1
    fit.trials.frame.loc[:4, "mask_choice"] = False
    differ, axes = figures.plot_subjects(fit)
    assert len(differ.axes) == 2
    assert "scored trials" in all_text(differ)
    colours = axes[0].collections[1].get_facecolors()
    mean = fit.idata["posterior"]["alpha"].mean(["chain", "draw"]).to_numpy()
    place = np.argsort(np.argsort(mean))
    assert (colours[place[1]] == colours[place[2]]).all()
    assert (colours[place[0]] != colours[place[1]]).any()


def title_colour(fig):
    return next(t.get_color() for t in texts(fig) if t.get_text().startswith("location"))


def test_trace_shows_every_chain_and_marks_a_bad_r_hat():
    fit = make_fit([ALPHA], seed=2)
    fig, axes = figures.plot_trace(fit)
    posterior = fit.idata["posterior"]
    for line, chain in zip(axes[0].lines, posterior["alpha_mu"].to_numpy(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), chain)
    r_hat = float(az.rhat(posterior.to_dataset()[["alpha_mu"]])["alpha_mu"])
    assert axes[0].get_title(loc="left") == f"location (logit): R-hat {r_hat:.3f}"
    assert title_colour(fig) != style.ALARM
    posterior["alpha_mu"] = posterior["alpha_mu"] + np.arange(4)[:, None]
    fig, axes = figures.plot_trace(fit)
    assert title_colour(fig) == style.ALARM
    # Chain 4 holds the largest draws: its ranks pile up at the right end.
    highest = axes[1].patches[3].get_data().values
    assert highest[-1] == highest.max()
    assert highest.mean() == pytest.approx(1)


def test_trace_of_one_chain_says_that_r_hat_is_unknown():
    fig, _ = figures.plot_trace(make_fit([ALPHA], chains=1))
    assert "R-hat unknown" in all_text(fig)


def test_trace_without_pooling_shows_the_worst_subject():
    fit = make_fit([ALPHA], pooling="none")
    shift = np.zeros((4, 1, 6))
    shift[2, 0, 3] = 0.1
    fit.idata["posterior"]["alpha"] = fit.idata["posterior"]["alpha"] + shift
    fig, axes = figures.plot_trace(fit)
    assert len(axes) == 2
    assert "subject id3 (worst)" in all_text(fig)


def test_figures_that_would_mislead_are_refused():
    with pytest.raises(FitError, match="no chains"):
        figures.plot_trace(make_fit([ALPHA], status="quick"))
    with pytest.raises(FitError, match=r"one value.*plot_group"):
        figures.plot_subjects(make_fit([ALPHA], pooling="complete"))
    fit = make_fit([ALPHA])
    fit.spec.parameters = ()
    for plot in (figures.plot_group, figures.plot_subjects, figures.plot_trace):
        with pytest.raises(FitError, match="no fitted parameter"):
            plot(fit)


def test_learning_curve_draws_data_and_both_predictions():
    observed, one, free = table([1, 2], [0.5, 0.8]), table([1, 2], [0.55, 0.75]), table([1, 2], [0.5, 0.7])
    fig, ax = figures.plot_learning(observed, one, free, label="better option (by payoff)", chance=0.5)
    lines = [line.get_ydata() for line in ax.lines if len(line.get_xdata()) == 2]
    for mean in (observed["mean"], one["mean"], free["mean"]):
        assert any(np.array_equal(mean, y) for y in lines)
    # Every band is inside the axis.
    assert ax.get_ylim()[0] < 0.45
    assert ax.get_ylim()[1] > 0.85
    assert ax.get_ylabel().replace("\n", " ") == "chose the better option (by payoff)"
    for word in ("one-step: each choice predicted", "free-running: simulated subjects", "± 1 SE"):
        assert word in all_text(fig)


def test_a_missing_free_run_is_explained():
    fig, _ = figures.plot_learning(table([1], [0.5]), no_free_run="no payoffs in the data")
    assert "No free-running prediction: no payoffs in the data" in all_text(fig)
    assert "simulated subjects" not in all_text(fig)


def test_one_subject_has_dots_without_bars():
    fig, _ = figures.plot_learning(table([1, 2], [0.5, 1.0], half=np.nan))
    fig.canvas.draw()


def test_categories_match_by_label():
    observed = table(["all", "A v B", "C v D"], [0.7, 0.8, 0.6])
    _, ax = figures.plot_accuracy(observed, table(["C v D", "all"], [0.65, 0.75]))
    assert [t.get_text() for t in ax.get_xticklabels()] == ["all", "A v B", "C v D"]
    squares = next(line for line in ax.lines if line.get_marker() == "s")
    assert np.round(squares.get_xdata()).tolist() == [2, 0]
    assert squares.get_ydata().tolist() == [0.65, 0.75]


def test_reversals_are_needed_for_a_reversal_curve():
    with pytest.raises(FitError, match=r"never changes.*plot_learning"):
        figures.plot_reversal(table([-1, 0], [np.nan, np.nan]))


def test_a_table_without_the_columns_is_refused():
    good = table([1], [0.5])
    with pytest.raises(FitError, match=r"the data has no column lower, upper"):
        figures.plot_learning(good[["x", "mean"]])
    with pytest.raises(FitError, match=r"the one-step prediction has no column upper"):
        figures.plot_stay(good, good.drop(columns="upper"))
