"""Names of runs in a table."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kdyolo.report.contestants import names_of

PART = st.sampled_from(["a", "b", "budgets", "0.25", "a\x1b"])


@given(st.lists(st.lists(PART, min_size=1, max_size=4).map(lambda parts: Path("/", *parts)), min_size=1, unique=True))
def test_names_tell_runs_apart(roots):
    names = names_of(roots)
    assert len(set(names)) == len(roots)
    assert all(root.name[0] in name for root, name in zip(roots, names, strict=True))


def test_names_are_no_longer_than_they_must_be():
    assert names_of([Path("/r/a"), Path("/r/b")]) == ["a", "b"]
    assert names_of([Path("/x/a"), Path("/y/a"), Path("/y/c")]) == ["x/a", "y/a", "c"]
    assert names_of([Path("/r/few/budgets/0.25"), Path("/r/more/budgets/0.25")]) == ["few/0.25", "more/0.25"]
