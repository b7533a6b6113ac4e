"""The catalogue that ships, the commands that show it, and the figures."""

import re
import tomllib
from importlib import resources
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from test_cli_commands import refused, run

import fitrl
from fitrl import Perturbation, Target, population
from fitrl.errors import ModelError
from fitrl.models import CATALOGUE, declare
from fitrl.perturb.catalogue import catalogue, perturbation, perturbations, read_catalogue
from fitrl.perturb.figures import plot_dose, plot_lookalikes, plot_signatures
from fitrl.perturb.lookalikes import lookalikes

ROWS = catalogue().rows


@pytest.mark.parametrize("name", ROWS)
def test_every_row_says_what_it_rests_on(name):
    p = ROWS[name]
    evidence = p.evidence
    assert evidence.grade in "ABCT"
    assert isinstance(evidence.contra, tuple)
    assert evidence.design
    identifiers = r"10\.\d{4,9}/\S+|PMC\d+|PMID \d+|Sci Rep 9:6770|eLife reviewed preprint \d+"
    assert any(re.search(identifiers, source) for source in evidence.sources), evidence.sources
    assert "memory" not in " ".join(evidence.sources)
    if evidence.grade == "C":
        assert evidence.contra
    if evidence.illustrative:
        assert all(abs(t.delta) == 0.5 and t.unit == "sd" for t in p.targets if t.mode == "shift")
    assert Perturbation.from_json(p.to_json()) == p


def test_every_row_states_its_contradictions_in_the_file():
    raw = tomllib.loads(resources.files("fitrl.perturb").joinpath("catalogue.toml").read_text(encoding="utf-8"))
    assert all("contra" in row["evidence"] for name, rows in raw.items() if name != "presets" for row in rows)


def test_unread_rows_are_not_shipped():
    for name in ("tonic_da_vigor", "habenula", "vmpfc_lesion", "nicotine", "redish_D", "mdd_pun"):
        assert name not in ROWS


def test_published_sizes_are_kept():
    assert [t.delta for t in perturbation("sud_mixed").targets] == [-0.43, -0.36, 0.31]
    assert perturbation("addiction_discount").targets[0].delta == 0.58
    (dlpfc,) = perturbation("dlpfc_discount").targets
    assert (dlpfc.delta, dlpfc.unit) == (-0.46, "link")


@pytest.mark.parametrize("preset", catalogue().presets)
def test_presets_begin_with_the_best_supported_rows(preset):
    grades = [p.evidence.grade for p in perturbations(preset)]
    assert grades == sorted(grades)


@pytest.mark.parametrize(
    ("name", "model", "traits", "options"),
    [
        ("pd_on_expression", "opal", [], {"asymmetry": "both"}),
        ("pd_on", "opal", [], {}),
        ("pd_on_neglr", "q_learning", ["dual_alpha"], {}),
        ("pd_off_mb", "two_step_split", [], {}),
        ("compulsivity_mb", "two_step_kool", [], {}),
        ("ssri_week", "q_learning", [("dual_alpha", {"by": "outcome"})], {}),
        ("anx_volatility", "dynamic_alpha", [], {}),
        ("propranolol_lr", "ehgf_binary", [], {}),
        ("mph", "q_learning", [], {}),
        ("dstriatum_case", "q_learning", [], {}),
        ("sud_mixed", "q_learning", [("dual_alpha", {"by": "outcome"})], {}),
    ],
)
def test_rows_apply_to_models_of_the_zoo(name, model, traits, options):
    people = population(declare(model, traits, options), subjects=3, trials=5, random_seed=1)
    made = people.with_(perturbation(name))
    assert len(made.simulate().frame) == 15
    assert all(effect.phase == "both" for effect in made.perturbed.effects)


def test_names_are_found_or_the_nearest_is_named():
    with pytest.raises(ModelError, match='Did you mean "pd_off_mb"'):
        perturbation("pd_of_mb")
    with pytest.raises(ModelError, match="set of alternatives"):
        perturbation("parkinson_on")
    with pytest.raises(ModelError, match='Did you mean "anxiety"'):
        perturbations("anxity")


ROW = """
[[lesions]]
id = "x"
title = "a lesion"
targets = [{ param = "alpha", delta = 0.5 }]
[lesions.evidence]
grade = "B"
read = "abstract"
sources = ["someone 2020"]
contra = []
design = "two people"
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('grade = "B"', 'grade = "D"', "\"x\", evidence: grade is 'D'"),
        ("contra = []\n", "", "contra is missing"),
        ("contra = []", 'contra = "none"', "expected list"),
        ('read = "abstract"', 'read = "memory"', "abstract, full"),
        ("delta = 0.5", "dleta = 0.5", '"x", target 1: .*Did you mean "delta"'),
        ("[[lesions]]", "[[lesion]]\n[lesion.evidence]\n[[lesions]]", 'Did you mean "lesions"'),
        ('title = "a lesion"', "", "needs a title"),
        ('id = "x"', 'id = "x', "not TOML"),
        ("", '[presets.p]\ntitle = "p"\nrows = ["y"]\ncaution = ""\n', 'no perturbation "y"'),
        ("", '[presets.p]\ntitle = "p"\n', "expected caution, rows, title"),
        ("", '[presets.x]\ntitle = "p"\nrows = []\ncaution = ""\n', 'two rows or presets "x"'),
    ],
)
def test_a_wrong_catalogue_is_refused_by_row_and_field(old, new, message):
    assert list(read_catalogue(ROW).rows) == ["x"]
    with pytest.raises(ModelError, match=message):
        read_catalogue(ROW.replace(old, new, 1) if old else new + ROW)


def test_the_catalogue_is_in_the_wheel():
    """Files of a package are only in the wheel if they are named: an editable install would not miss them."""
    file = Path(__file__).parents[1] / "pyproject.toml"
    settings = tomllib.loads(file.read_text())["tool"]["setuptools"]
    assert "fitrl.perturb" in settings["packages"]
    assert "catalogue.toml" in settings["package-data"]["fitrl.perturb"]


def test_the_command_lists_and_prints():
    result = run("perturbations", width="100")
    assert result.exit_code == 0
    for words in ("Parkinson's disease", "pd_on_expression", "illustrative", "Presets", "not a constant of nature"):
        assert words in " ".join(result.stdout.split())
    assert max(map(len, result.stdout.splitlines())) <= 100
    shown = " ".join(run("perturbations", "pd_on_expression").stdout.split())
    for words in ("rho_da +0.5 sd, in choice; else beta", "illustrative", "Grogan 2017", "Shiner 2012", "A: two"):
        assert words in shown
    assert "opal --set asymmetry=choice" in shown
    assert "q_learning (with a stand-in)" in shown
    assert "alternatives" in run("perturbations", "anxiety").stdout
    assert "Did you mean" in refused(run("perturbations", "pd_onn"))


def test_simulate_perturbs_and_says_on_what_grounds(tmp_path):
    out, truth, mine = tmp_path / "sim.csv", tmp_path / "truth.csv", tmp_path / "mine.json"
    mine.write_text(Perturbation("mine", (Target("beta", -0.7),)).to_json())
    call = ("simulate", "--model", "q_learning", "--with", "dual_alpha", "--subjects", 3, "--trials", 10, "--seed", 4)
    result = run(*call, "--out", out, "--truth", truth, "--perturb", "pd_on_neglr", "--perturb", mine)
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    for words in (
        "grade B, with counter-evidence, illustrative size",
        "Grogan 2017",
        "Perturbed: mine",
        "beta -0.7 link",
    ):
        assert words in said
    people = population("q_learning", traits=["dual_alpha"], subjects=3, trials=10, random_seed=4)
    made = people.with_(perturbation("pd_on_neglr"), fitrl.read_perturbation(mine)).simulate()
    assert out.read_text() == made.frame.to_csv(index=False, lineterminator="\n")
    assert truth.read_text() == made.truth.to_csv(index=False, lineterminator="\n")
    refused(run(*call, "--out", out, "--perturb", "pd_off_mb"))


def test_cards_say_where_parameters_act():
    shown = run("models", "opal").stdout
    assert shown.count("acts in learning") == 5 - 2
    assert shown.count("acts in choice") == 1
    assert all("acts in" in run("models", name).stdout for name in CATALOGUE if name != "random")


def test_figures_carry_the_caption_and_every_signature():
    people = population("q_learning", environment="reversing", subjects=10, trials=40, random_seed=1)
    p = perturbation("adhd")
    for fig, axes in (plot_signatures(people, p), plot_dose(people, p, (0, 1))):
        assert [ax.get_title("left") for ax in axes][:2] == ["staying and shifting", "choices of the better option"]
        texts = [t.get_text() for t in fig.findobj(plt.Text)]
        assert any("illustrative" in text.replace("\n", " ") for text in texts)
        plt.close(fig)
    found = lookalikes(people, p)
    fig, (bars, grid) = plot_lookalikes(found)
    assert [t.get_text().split()[0] for t in bars.get_yticklabels()] == ["alpha", "nothing"]
    assert len(grid.get_xticklabels()) == (found.signatures["condition"] == "without").sum()
    assert "illustrative" in fig.get_suptitle()
    plt.close(fig)
