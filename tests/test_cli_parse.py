"""Options of the command line: what they become, and what is said when they cannot be read."""

import pytest

from fitrl.cli import parse


def test_values_become_numbers_words_or_text():
    read = [parse.value(text) for text in ("3", "-0.5", "1e-3", "true", "False", "none", " pe ", "1/2")]
    assert read == [3, -0.5, 0.001, True, False, None, "pe", "1/2"]
    assert isinstance(read[0], int)


def test_traits_with_and_without_options():
    assert parse.traits(["lapse", "forgetting:to=zero,rate=alpha"]) == [
        ("lapse", {}),
        ("forgetting", {"to": "zero", "rate": "alpha"}),
    ]


def test_a_label_may_hold_an_equals_sign():
    assert parse.pairs(["subject=a=b"], "--column", "") == {"subject": "a=b"}


def test_labels_and_scales():
    assert parse.labels(["choice=left, right"]) == {"choice": ["left", "right"]}
    assert parse.scale("100") == 100.0
    assert parse.scale("raw") == "raw"
    assert parse.scale(None) is None


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: parse.pairs(["subject"], "--column", "--column subject=ID"), "Write it like --column subject=ID"),
        (lambda: parse.pairs(["=ID"], "--column", "--column subject=ID"), '"=ID" cannot be read'),
        (lambda: parse.pairs(["a=1", "a=2"], "--column", ""), "given twice"),
        (lambda: parse.traits(["dual_alpha:outcome"]), "--with dual_alpha:option=value"),
        (lambda: parse.numbers(["beta=three"], "--fix", ""), '"three" is not a number'),
        (lambda: parse.scale("percent"), "neither a number nor raw"),
    ],
)
def test_what_cannot_be_read_is_said_with_a_remedy(read, message):
    with pytest.raises(parse.UsageError) as error:
        read()
    assert message in str(error.value)
