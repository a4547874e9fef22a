"""Several teachers' answers for a batch as one."""

from dataclasses import replace

import pytest
import torch
from heads import converted, make_head
from hypothesis import given, settings
from hypothesis import strategies as st

from kdyolo.distill.ensemble import average
from kdyolo.errors import ConfigError

NC = 3
quick = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 1000)


def knowing(head, *classes):
    """`head` that knows these classes only."""
    known = torch.tensor([c in classes for c in range(head.nc)])[None, :, None]
    return replace(head, known=known)


@st.composite
def teams(draw):
    """Heads with masks of every shape, and positive weights."""
    count, seed = draw(st.integers(1, 4)), draw(seeds)
    generator = torch.Generator().manual_seed(seed)
    heads = []
    for t in range(count):
        head = make_head(seed=10 * seed + t, nc=NC, dtype=torch.float64)
        shape = draw(st.sampled_from([None, (1, NC, 1), tuple(head.scores.shape)]))
        heads.append(replace(head, known=shape and torch.rand(shape, generator=generator) < 0.6))
    return heads, 0.1 + torch.rand(count, NC, generator=generator, dtype=torch.float64)


def knows(head):
    return torch.ones_like(head.scores, dtype=torch.bool) if head.known is None else head.known.expand_as(head.scores)


def plain_average(heads, weights, image, location):
    """Probabilities and side distributions of one location, number by number; None: unknown."""
    p, v = [], []
    for c in range(NC):
        said = [
            (float(w[c]), float(h.scores[image, c, location].sigmoid()))
            for h, w in zip(heads, weights, strict=True)
            if knows(h)[image, c, location]
        ]
        p.append(sum(w * x for w, x in said) / sum(w for w, _ in said) if said else None)
    for head, w in zip(heads, weights, strict=True):
        seen = [
            float(w[c] * head.scores[image, c, location].sigmoid())
            for c in range(NC)
            if knows(head)[image, c, location]
        ]
        v.append(max(seen, default=0.0))
    v = v if sum(v) else [1.0] * len(v)
    sides = [head.bins()[image, :, :, location].softmax(1) for head in heads]
    return p, sum(w * d for w, d in zip(v, sides, strict=True)) / sum(v)


@quick
@given(teams(), st.integers(0, 1), st.integers(0, 50))
def test_it_is_the_plain_mean(team, image, location):
    heads, weights = team
    location %= heads[0].scores.shape[2]
    mixed = average(heads, weights)
    p, sides = plain_average(heads, weights, image, location)
    for c, expected in enumerate(p):
        assert bool(knows(mixed)[image, c, location]) == (expected is not None)
        if expected is not None:
            assert mixed.scores[image, c, location].sigmoid().item() == pytest.approx(expected, abs=2e-6)
    torch.testing.assert_close(mixed.bins()[image, :, :, location].exp(), sides)


@quick
@given(teams())
def test_probabilities_stay_between_those_of_the_teachers_that_know(team):
    heads, weights = team
    mixed = average(heads, weights)
    p, known = torch.stack([x.scores.sigmoid() for x in heads]), torch.stack([knows(x) for x in heads])
    told = knows(mixed)
    assert torch.equal(told, known.any(0))
    result = mixed.scores.sigmoid()[told]
    assert (result >= p.masked_fill(~known, 2).amin(0)[told] - 2e-6).all()
    assert (result <= p.masked_fill(~known, -1).amax(0)[told] + 2e-6).all()
    assert mixed.scores.isfinite().all()
    assert mixed.boxes.isfinite().all()
    torch.testing.assert_close(mixed.bins().exp().sum(2), torch.ones_like(mixed.bins()[:, :, 0]))


@quick
@given(teams(), st.randoms(use_true_random=False))
def test_the_order_of_teachers_does_not_matter(team, random):
    heads, weights = team
    order = list(range(len(heads)))
    random.shuffle(order)
    mixed, turned = average(heads, weights), average([heads[t] for t in order], weights[order])
    torch.testing.assert_close(turned.scores, mixed.scores)
    torch.testing.assert_close(turned.boxes, mixed.boxes)
    assert torch.equal(turned.known, mixed.known)


@quick
@given(seeds, st.integers(1, 4))
def test_teachers_that_agree_are_one(seed, count):
    head = knowing(make_head(seed=seed, nc=NC, dtype=torch.float64), 0, 2)
    mixed = average([head] * count, torch.tensor([[0.3, 0.5, 2.0]]).expand(count, NC))
    torch.testing.assert_close(
        mixed.scores.sigmoid()[:, [0, 2]], head.scores.sigmoid()[:, [0, 2]], atol=2e-6, rtol=1e-5
    )
    torch.testing.assert_close(mixed.bins().softmax(2), head.bins().softmax(2))
    torch.testing.assert_close(mixed.xyxy(), head.xyxy())
    assert mixed.known.flatten().tolist() == [True, False, True]


def test_teachers_of_disjoint_classes_each_speak_of_their_own():
    first, second = make_head(seed=1, nc=NC), make_head(seed=2, nc=NC)
    mixed = average([knowing(first, 0), knowing(second, 2)], torch.ones(2, NC))
    torch.testing.assert_close(mixed.scores[:, 0].sigmoid(), first.scores[:, 0].sigmoid(), atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(mixed.scores[:, 2].sigmoid(), second.scores[:, 2].sigmoid(), atol=2e-6, rtol=1e-5)
    assert mixed.known.flatten().tolist() == [True, False, True]


def test_who_sees_the_object_says_where_its_sides_are():
    sure, blind = make_head(seed=1, nc=NC), make_head(seed=2, nc=NC)
    sure = replace(sure, scores=torch.full_like(sure.scores, 5.0))
    blind = replace(blind, scores=torch.full_like(blind.scores, -12.0))
    mixed = average([blind, sure], torch.ones(2, NC))
    torch.testing.assert_close(mixed.bins().exp(), sure.bins().softmax(2), atol=1e-4, rtol=1e-3)
    # What it says of a class it does not know shows nothing.
    unaware = replace(knowing(sure, 1), scores=sure.scores - 20 * torch.tensor([0, 1, 0])[None, :, None])
    even = average([unaware, replace(blind, scores=unaware.scores)], torch.ones(2, NC))
    assert (even.bins().exp() - sure.bins().softmax(2)).abs().max() > 0.1


def test_a_weight_of_nought_is_silence():
    first, second = make_head(seed=1, nc=NC), make_head(seed=2, nc=NC)
    mixed = average([first, second], torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(mixed.scores[:, :2].sigmoid(), first.scores[:, :2].sigmoid(), atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(mixed.bins().exp(), first.bins().softmax(2))
    assert mixed.known.flatten().tolist() == [True, True, False]


def test_nobody_knows_anything():
    heads = [knowing(make_head(seed=seed, nc=NC)) for seed in (1, 2)]
    mixed = average(heads, torch.ones(2, NC))
    assert not mixed.known.any()
    assert mixed.scores.isfinite().all()
    torch.testing.assert_close(mixed.bins().exp(), sum(x.bins().softmax(2) for x in heads) / 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_certainty_stays_finite_in_every_precision(dtype):
    head = converted(make_head(nc=NC, scale=30.0), dtype)
    mixed = average([head, head], torch.ones(2, NC))
    assert mixed.scores.dtype == mixed.boxes.dtype == torch.float32
    assert mixed.scores.isfinite().all()
    assert mixed.boxes.isfinite().all()


def test_there_is_no_graph_and_no_map():
    mixed = average([make_head(seed=1, grad=True), make_head(seed=2, grad=True)], torch.ones(2, 3, requires_grad=True))
    assert not mixed.scores.requires_grad
    assert not mixed.boxes.requires_grad
    assert mixed.features == ()


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (make_head(batch=1), "2 images and teacher 3 1,"),
        (make_head(nc=4), "3 classes and teacher 3 4,"),
        (make_head(shapes=((5, 7), (3, 4), (1, 2))), "locations"),
        (make_head(reg_max=4), "8 bins of a box side and teacher 3 4,"),
        (make_head(shapes=((7, 5), (3, 4), (2, 2))), "1 and 3 have different grids"),
    ],
)
def test_teachers_that_do_not_fit_each_other(other, told):
    with pytest.raises(ConfigError, match=told):
        average([make_head(), make_head(seed=1), other], torch.ones(3, 3))


@pytest.mark.parametrize(("count", "shape"), [(0, (0, 3)), (2, (1, 3)), (2, (2, 1))])
def test_weights_that_do_not_fit(count, shape):
    with pytest.raises(ValueError, match="do not fit weights"):
        average([make_head(nc=3)] * count, torch.ones(shape))
