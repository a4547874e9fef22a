import pytest

from kdyolo.datasets.auditing.audit import csv_text
from kdyolo.text import neutralise


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", " =1+1", "\t=1", "\r\n@x"])
def test_formulas_are_neutralised_even_behind_blanks(cell):
    assert neutralise(cell) == f"'{cell}"
    assert csv_text(("a",), [(cell,)]).splitlines()[1].lstrip('"').startswith("'")


@pytest.mark.parametrize("cell", ["plain", "a=b", "", -1.5, None])
def test_anything_else_stays(cell):
    assert neutralise(cell) == cell
