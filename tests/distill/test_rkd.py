"""Which instances rkd relates to each other."""

from dataclasses import replace

import torch
from heads import make_head

from kdyolo.distill.methods import rkd

SHAPES = ((12, 12), (6, 6), (3, 3))


def quiet(batch=1, shapes=SHAPES):
    """A head that sees nothing, with boxes that reach half a cell to each side."""
    head = make_head(batch=batch, shapes=shapes, reg_max=2)
    return replace(head, scores=torch.full_like(head.scores, -9.0), boxes=torch.zeros_like(head.boxes))


def show(head, *places, score=2.0):
    """Let the head see class 0 at (image, location)s."""
    for image, location in places:
        head.scores[image, 0, location] = score
    return head


def chosen(student, teacher):
    return list(zip(*(x.tolist() for x in rkd.select(student, teacher)), strict=True))


def test_only_what_the_teacher_sees():
    teacher = show(quiet(2), (0, 5), (1, 100), (1, 150))
    student = show(quiet(2), (0, 70))
    assert sorted(chosen(student, teacher)) == [(0, 5), (1, 100), (1, 150)]
    assert chosen(student, quiet(2)) == []


def test_unsure_boxes_are_no_objects():
    assert chosen(quiet(), show(quiet(), (0, 5), score=-2.3)) == []  # sigmoid 0.091
    assert chosen(quiet(), show(quiet(), (0, 5), score=-2.1)) == [(0, 5)]  # sigmoid 0.109


def test_the_best_of_overlapping_boxes_stands_for_all():
    teacher = show(quiet(), (0, 5))
    show(teacher, (0, 6), score=3.0)
    assert sorted(chosen(quiet(), teacher)) == [(0, 5), (0, 6)]  # side by side
    far = torch.zeros_like(make_head(batch=1, shapes=SHAPES, reg_max=8).boxes)
    far[0, 7::8] = 20.0  # seven cells to each side
    student, teacher = replace(quiet(), boxes=far), replace(teacher, boxes=far)
    assert chosen(student, teacher) == [(0, 6)]
    teacher.scores[0, 1, 5] = 4.0  # another class, so another object
    assert sorted(chosen(student, teacher)) == [(0, 5), (0, 6)]


def test_of_many_those_the_student_misses_most():
    apart = [(0, location) for location in range(0, 144, 3)]
    teacher = show(quiet(), *apart)
    student = show(quiet(), *apart)
    for rank, (_, location) in enumerate(apart):
        student.scores[0, 0, location] = 2 - 0.05 * rank
    found = chosen(student, teacher)
    assert found == apart[:-11:-1]  # the ten worst, the worst first


def test_at_most_64_in_a_batch():
    teacher = show(quiet(9), *((image, location) for image in range(9) for location in range(0, 144, 3)))
    student = quiet(9)
    student.scores[4] = 1.9  # this image's student is nearly right
    found = chosen(student, teacher)
    images = [image for image, _ in found]
    assert len(found) == 64
    assert 4 not in images
    assert max(images.count(image) for image in range(9)) <= 10


def test_one_object_a_level_has_no_relations():
    teacher = show(quiet(), (0, 5), (0, 150), (0, 185))
    student = quiet()
    for head in (student, teacher):
        for feature in head.features:
            feature.requires_grad_(True)
    loss = rkd.loss(student, teacher)
    assert loss.item() == 0
    loss.backward()


def test_relations_heed_neither_scale_nor_rotation():
    vectors = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    (d, a), (d_turned, a_turned) = rkd.relations(vectors), rkd.relations(3 * vectors @ turn)
    assert (len(d), len(a)) == (20, 60)
    assert torch.allclose(d, d_turned, atol=1e-5)
    assert torch.allclose(a, a_turned, atol=1e-5)
    assert abs(d.mean().item() - 1) < 1e-9


def test_equal_vectors_have_no_endless_gradient():
    vectors = torch.ones(4, 3, requires_grad=True)
    d, a = rkd.relations(vectors)
    (d.square().sum() + a.sum()).backward()
    assert vectors.grad.isfinite().all()
