"""The sentences of a leaderboard: counts that fit, and the same figures in every language."""

import re

import pytest

from kdyolo.language import ENGLISH, language
from kdyolo.report.leaderboard_words import note, notes, opening, speed
from kdyolo.report.ranking import BELOW, BEST, EVEN, Note

PT = language("pt")


def table(*standings, score=0.4567, runs=1):
    row = {"mAP50_95": {"student": None if score is None else {"mean": score}}, "standing": BEST}
    row["runs"] = [{"name": "100 %s"}] * runs
    return {"images": 1234, "rows": [row, *({**row, "standing": standing} for standing in standings)]}


@pytest.mark.parametrize(
    ("standings", "english", "portuguese"),
    [
        ((), ".", "."),
        ((EVEN, BELOW), "; 1 of the 2 others is indist", "; entre os demais (2), 1 é indist"),
        ((EVEN, EVEN, None), "; 2 of the 3 others are indist", "; entre os demais (3), 2 são indist"),
        ((BELOW, BELOW), "; all others are below it.", "; todos os demais estão abaixo dele."),
        ((BELOW, None), ".", "."),
    ],
)
def test_the_opening_counts_those_that_may_be_as_good(standings, english, portuguese):
    said = opening(table(*standings))
    assert said.startswith("100 %s has the best student: 45.7 mAP50-95 points on 1,234 test images" + english)
    said = opening(table(*standings), PT)
    assert said.startswith("100 %s tem o melhor aluno: 45,7 pontos de mAP50-95 em 1.234 imagens de teste" + portuguese)


def test_the_opening_says_how_many_seeds_and_that_nothing_was_measured():
    assert opening(table(runs=3)).startswith("100 %s (3 seeds) has")
    assert opening(table(runs=3), PT).startswith("100 %s (3 sementes) tem")
    assert opening(table(score=None)) == "No student could be measured."
    assert opening(table(score=None), PT) == "Nenhum aluno pôde ser medido."


@pytest.mark.parametrize(
    "differs",
    [
        {"conditions": {"processor": ["50 %s", "other"], "threads": [2, 1024], "device": [None, "cpu"]}},
        {"model": "50 %s", "imgsz": 1280, "least": 1.25, "first": "a %(b)s", "most": 1234.5, "last": "b"},
    ],
)
def test_why_speeds_differ_has_the_same_figures_in_both(differs):
    english, portuguese = speed(differs, ENGLISH), speed(differs, PT)
    assert "50 %s" in english
    assert "50 %s" in portuguese
    swapped = portuguese.translate({ord(","): ".", ord("."): ","})
    figures = r"\d[\d.,]*\d|\d"
    assert sorted(re.findall(figures, swapped)) == sorted(re.findall(figures, english))


def test_a_note_keeps_the_message_of_an_error_apart():
    found = [Note("same_student", "a %s"), Note("no_interval", "x.csv cannot be read."), Note("first_seed")]
    assert note(found[1], PT) == ("Falta um intervalo:", "x.csv cannot be read.")
    assert notes(found[:2]) == "the very student of a %s An interval is missing: x.csv cannot be read."
    assert notes(found[:1], PT) == "exatamente o mesmo aluno de a %s"
    assert notes([]) == ""
