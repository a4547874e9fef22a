"""Every code a check can emit is listed, every listed one can be emitted, and the documentation shows them all."""

import ast
import itertools
import re
from pathlib import Path

import pytest

from kdyolo.datasets.auditing.codes import AREAS, CODES

ROOT = Path(__file__).parents[3]
ROOMS = ("datasets", "stages", "pseudo")
SOURCES = sorted(
    path for room in ROOMS for path in (ROOT / "kdyolo" / room).rglob("*.py") if not path.name.endswith("codes.py")
)
SEVERITIES = {"error", "warning", "note"}
EMITTERS = {"add", "say", "bad", "refuse", "reject", "warn", "note", "Finding", "Bad", "BadLine"}
CODE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def texts(node):
    """Constant texts an expression may come to; a formatted text with * for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.IfExp):
        return texts(node.body) | texts(node.orelse)
    if isinstance(node, ast.JoinedStr):
        return {"".join(part.value if isinstance(part, ast.Constant) else "*" for part in node.values)}
    if isinstance(node, ast.Subscript):
        return texts(node.value)
    if isinstance(node, ast.Dict):
        return {text for value in node.values for text in texts(value)}
    if isinstance(node, ast.BoolOp):
        return {text for value in node.values for text in texts(value)}
    return set()


def neighbours(elements):
    """(code, severity) where one element is a text and the next a severity, or the other way round."""
    for first, second in itertools.pairwise(elements):
        for codes, severities in ((texts(first), texts(second)), (texts(second), texts(first))):
            if severities and severities <= SEVERITIES and codes and not codes & SEVERITIES:
                yield from ((code, severity) for code in codes for severity in severities)


def assigned(node):
    """Codes given to a variable called `code`, alone or among others."""
    if isinstance(node, ast.Assign):
        targets, values = node.targets[0], [node.value]
    elif isinstance(node, ast.For):
        targets, values = node.target, getattr(node.iter, "elts", [])
    else:
        return
    for value in values:
        if isinstance(targets, ast.Name) and targets.id == "code":
            yield from texts(value)
        elif isinstance(targets, ast.Tuple) and isinstance(value, ast.Tuple):
            for target, part in zip(targets.elts, value.elts, strict=False):
                if isinstance(target, ast.Name) and target.id == "code":
                    yield from texts(part)


def emitted():
    """(code, severity or None, place) of everything in the source that looks like a finding."""
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            place = f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            pairs = []
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                pairs += neighbours(node.args[:3])
                place_of_code = 2 if name.startswith("_") else 0  # helpers take the data set and the image first
                if name.strip("_") in EMITTERS and len(node.args) > place_of_code and not pairs:
                    pairs += [(code, None) for code in texts(node.args[place_of_code])]
            elif isinstance(node, ast.Tuple):
                pairs += neighbours(node.elts)
            else:
                pairs += [(code, None) for code in assigned(node)]
            yield from ((code, severity, place) for code, severity in pairs if CODE.fullmatch(code.replace("*", "x")))


EMITTED = sorted(set(emitted()), key=str)


def listed(code):
    """Codes of the list that an emitted code, perhaps with *, stands for."""
    return [known for known in CODES if re.fullmatch(code.replace("*", "[a-z]+"), known)]


def test_the_search_finds_codes_in_every_way_of_writing_them():
    found = {code for code, _, _ in EMITTED}
    assert {"empty_file", "split_leak", "box_overlap", "bad_xml", "extension_mismatch", "duplicate_of_*"} <= found


def test_no_code_is_emitted_that_is_not_listed():
    assert [(code, place) for code, _, place in EMITTED if not listed(code)] == []


def test_severities_are_those_of_the_list():
    wrong = [
        (code, severity, place)
        for code, severity, place in EMITTED
        if severity and not any(severity in CODES[known].severities for known in listed(code))
    ]
    assert wrong == []


def test_no_code_is_listed_that_nothing_emits():
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in SOURCES]
    written = {text for tree in trees for node in ast.walk(tree) for text in texts(node) if CODE.fullmatch(text)}
    assert sorted(set(CODES) - written - {known for code, _, _ in EMITTED for known in listed(code)}) == []


@pytest.mark.parametrize("code", CODES)
def test_a_code_explains_itself(code):
    kind = CODES[code]
    assert CODE.fullmatch(code)
    assert kind.area in AREAS
    assert kind.severities
    assert set(kind.severities) <= SEVERITIES
    assert kind.title[0].isupper()
    assert not kind.title.endswith(".")
    for text in (kind.meaning, kind.todo):
        assert text.endswith(".")
        assert text.count("`") % 2 == 0


def test_titles_are_different():
    titles = [kind.title for kind in CODES.values()]
    assert len(set(titles)) == len(titles)


def test_the_documentation_lists_every_code():
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    expected = [
        f"| `{code}` | {', '.join(kind.severities)} | {kind.title} | {kind.todo} |"
        for area in AREAS
        for code, kind in CODES.items()
        if kind.area == area
    ]
    assert [row for row in expected if row not in rows] == []
    assert [row for row in rows if row not in expected] == []
