"""Judging the best candidates first changes nothing in what is kept."""

import pytest
import torch

from kdyolo.engine.environment import harden

NC = 3


@pytest.fixture(autouse=True)
def _hardened():
    harden()


def outputs(spread, count, seed=0):
    """Decoded output (2, 4 + nc, `count`): boxes of 20 px around centres `spread` px apart at most, random scores."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(2, 2, count, generator=generator) * spread
    return torch.cat([centres, torch.full((2, 2, count), 20.0), torch.rand(2, NC, count, generator=generator)], 1)


def everything(output, multi_label, max_det):
    from ultralytics.utils.nms import non_max_suppression

    return non_max_suppression(
        output, 0.1, 0.5, multi_label=multi_label, max_det=max_det, nc=NC, max_nms=30000, max_time_img=3600
    )


@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize("spread", [1, 60, 5000], ids=["one heap", "crowded", "apart"])
@pytest.mark.parametrize("max_det", [5, 40])
def test_the_same_boxes_as_judging_all(spread, multi_label, max_det):
    from kdyolo.engine.suppression import suppress

    output = outputs(spread, 700)
    found = suppress(output.clone(), 0.1, 0.5, multi_label=multi_label, max_det=max_det, nc=NC, few=50)
    for ours, theirs in zip(found, everything(output.clone(), multi_label, max_det), strict=True):
        assert torch.equal(ours, theirs)


def test_most_candidates_are_not_judged_where_the_best_suffice(monkeypatch):
    from ultralytics.utils.nms import non_max_suppression

    from kdyolo.engine import suppression

    limits = []

    def spy(rows, *args, max_nms, **kwargs):
        limits.append((len(rows), max_nms))
        return non_max_suppression(rows, *args, max_nms=max_nms, **kwargs)

    monkeypatch.setattr(suppression, "non_max_suppression", spy)
    suppression.suppress(outputs(5000, 700), 0.1, 0.5, multi_label=True, max_det=20, nc=NC, few=50)
    assert limits == [(2, 50)]


def test_nothing_found_is_an_empty_table():
    from kdyolo.engine.suppression import suppress

    found = suppress(outputs(60, 30), 1.0, 0.5, multi_label=True, max_det=20, nc=NC)
    assert [tuple(rows.shape) for rows in found] == [(0, 6), (0, 6)]
