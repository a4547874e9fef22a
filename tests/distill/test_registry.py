"""Sums of methods as text, and the modules they become."""

import copy
import pickle

import pytest
import torch
from heads import make_head
from hypothesis import given
from hypothesis import strategies as st

from kdyolo.distill.registry import Recipe, build, catalogue, describe, parse
from kdyolo.errors import ConfigError

N, X = (64, 128, 256), (320, 640, 1280)
RESPONSE = {"bckd": 0.5, "ld": 1.5}


@pytest.mark.parametrize(
    ("spec", "weights"),
    [
        ("response", RESPONSE),
        ("response:2", {"bckd": 1.0, "ld": 3.0}),
        ("response+cwd:0.5", {**RESPONSE, "cwd": 0.5}),
        (" response + box ", {**RESPONSE, "box": 7.5}),
        ("pkd", {"pkd": 2.0}),
        ("ld:1e-3+bckd:1", {"ld": 0.001, "bckd": 1.0}),
        ("native", {"native": 6.0}),
        ("native:3", {"native": 3.0}),
        ("cwd:1e+3", {"cwd": 1000.0}),
        ("native:2E+0+cwd:1.e+1+pkd", {"native": 2.0, "cwd": 10.0, "pkd": 2.0}),
        ("native+cwd:1e2", {"native": 6.0, "cwd": 100.0}),
    ],
)
def test_sums(spec, weights):
    recipe = parse(spec)
    assert recipe.weights == weights
    assert list(recipe.weights) == list(weights)
    assert parse(str(recipe)) == recipe


SINGLE = sorted(name for name, info in catalogue().items() if not info.parts)


@given(st.dictionaries(st.sampled_from(SINGLE), st.floats(1e-300, 1e300), min_size=1))
def test_a_sum_survives_being_written(weights):
    written = str(Recipe(weights))
    assert parse(written).weights == pytest.approx(weights, rel=1e-11, abs=0)
    assert str(parse(written)) == written


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("cdw", "There is no method 'cdw'. Did you mean 'cwd'?"),
        ("Response", "Did you mean 'response'?"),
        ("zzzzzz", "There is no method 'zzzzzz'."),
        ("cwd+cwd:2", "'cwd' is in 'cwd+cwd:2' twice"),
        ("response+bckd", "'bckd' is in 'response+bckd' twice"),
        ("cwd:0", "'0'; it must be a number above 0"),
        ("cwd:-1", "above 0"),
        ("cwd:nan", "above 0"),
        ("cwd:inf", "above 0"),
        ("cwd:", "The weight of 'cwd' is ''"),
        ("cwd:1:2", "'1:2'"),
        ("", "A method is missing"),
        ("cwd+", "A method is missing in 'cwd+'"),
        ("cwd:1e+", "'1e'; it must be a number above 0"),
        ("cwd:1e+bckd", "'1e'; it must be a number above 0"),
        (":1", "A method is missing"),
    ],
)
def test_what_makes_no_sense_is_refused(spec, told):
    with pytest.raises(ConfigError) as caught:
        parse(spec)
    assert told in caught.value.message


def test_what_a_sum_needs():
    assert parse("response+box").replayable
    assert not parse("response+cwd").replayable


def test_the_catalogue():
    assert set(catalogue()) == {
        *("bckd", "ld", "box", "hinton", "response"),
        *("cwd", "pkd", "fitnet", "at", "native"),
        *("rkd", "sp", "correlation"),
    }
    for name, info in catalogue().items():
        assert info.name == name
        assert info.weight > 0
        assert all((info.paper, info.url.startswith("https://"), info.formula, info.equation, info.cost, info.use))
        assert info.replayable == (info.family == "response")  # stored predictions hold no maps
        assert set(info.parts) <= set(catalogue())


def test_a_method_is_one_file(monkeypatch, tmp_path):
    """A new file is listed, parsed and built, and nothing else has to know of it."""
    from kdyolo.distill import methods

    (tmp_path / "toy.py").write_text(
        "from kdyolo.distill.info import MethodInfo\n"
        "INFO = MethodInfo('toy', 'response', 'none', 'https://example.org', 'f', 'e', 'c', 'u', weight=3)\n"
        "def loss(student, teacher):\n    return (student.scores - teacher.scores).abs().mean()\n"
    )
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    catalogue.cache_clear()
    try:
        total, parts = build("toy+bckd", N, X, nc=3)(make_head(0), make_head(1))
        gap = (make_head(0).scores - make_head(1).scores).abs().mean()
        assert parts["toy"].item() == pytest.approx(3 * gap.item())
        assert total > parts["toy"]
    finally:
        catalogue.cache_clear()


def test_parts_are_weighted_and_keep_their_names():
    student, teacher = make_head(0), make_head(1)
    once = build("response+at:1", N, N, nc=3)(student, teacher)[1]
    total, parts = build("response:2+at:3", N, N, nc=3)(student, teacher)
    assert list(parts) == ["bckd", "ld", "at"]
    for name, factor in {"bckd": 2, "ld": 2, "at": 3}.items():
        assert parts[name].item() == pytest.approx(factor * once[name].item())
    assert total.item() == pytest.approx(sum(part.item() for part in parts.values()))


def test_adapters_are_as_small_as_said():
    assert sum(p.numel() for p in build("cwd", N, X, nc=3).parameters()) == 430_080 + sum(X)
    two_layers = 430_080 + sum(channels**2 for channels in X) + 2 * sum(X)
    assert sum(p.numel() for p in build("native", N, X, nc=3).parameters()) == two_layers
    assert not list(build("response+at+sp+rkd", N, X, nc=3).parameters())


def test_building_leaves_random_numbers_alone_and_depends_on_the_seed_only():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = build("cwd+pkd", N, X, nc=3, seed=1).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    again = build("pkd+cwd", N, X, nc=3, seed=1).state_dict()
    other = build("cwd+pkd", N, X, nc=3, seed=2).state_dict()
    assert first.keys() == again.keys()
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert not any(torch.equal(value, other[key]) for key, value in first.items())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_copy_says_the_same(copied):
    student, teacher = make_head(0), make_head(1, channels=(5, 7, 9))
    module = build("response+cwd+rkd", (4, 6, 8), (5, 7, 9), nc=3)
    assert copied(module)(student, teacher)[0].item() == module(student, teacher)[0].item()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"spec": "hinton", "nc": 1}, "'hinton' says nothing with 1 class: it needs 2"),
        ({"spec": "response", "reg_max": 1}, "this head has 1 a side"),
        ({"teacher_channels": (320, 640)}, "has 3 levels and the teacher's 2"),
        ({"spec": "cdw"}, "Did you mean 'cwd'"),
    ],
)
def test_what_cannot_be_built(arguments, told):
    given = {"spec": "cwd", "student_channels": N, "teacher_channels": X, "nc": 3, **arguments}
    with pytest.raises(ConfigError) as caught:
        build(**given)
    assert told in caught.value.message


def test_a_default_combination_is_its_parts():
    assert describe("response").parts == {name: describe(name).weight for name in ("bckd", "ld")}
