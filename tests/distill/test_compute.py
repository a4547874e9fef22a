"""What a distillation costs, against counts made by hand."""

import pytest

from kdyolo.config import load_config
from kdyolo.distill.compute import relative_compute

STUDENT, TEACHER = 7.0, 210.0  # a step of the student is 21, at its own image size


def factor(images=100, asked=100, **settings):
    plain = {"student.epochs": 20, "student.close_mosaic": 4, "student.imgsz": 320, "teacher.imgsz": 640}
    config = load_config(overrides=plain | {key.replace("__", "."): value for key, value in settings.items()})
    return relative_compute(config, STUDENT, TEACHER, images, asked)


@pytest.mark.parametrize("scheme", ["labels", "cached"])
def test_labels_and_stored_answers_cost_one_pass_of_the_teacher_at_its_own_size(scheme):
    assert factor(distill__scheme=scheme) == pytest.approx(1 + (210 * 4) / (21 * 20))


def test_a_student_of_the_ground_truth_alone_costs_nothing_more():
    assert factor(student__labels="gt", distill__scheme="labels") == 1


def test_a_teacher_at_every_batch_is_asked_until_the_last_epochs():
    online = {"distill__scheme": "online-teacher", "student__labels": "gt"}
    assert factor(**online) == pytest.approx(1 + 210 * 16 / (21 * 20))
    assert factor(**online, distill__until_tail=False) == pytest.approx(1 + 210 * 20 / (21 * 20))


def test_students_that_teach_each_other_are_two_trainings():
    assert factor(distill__scheme="mutual", student__labels="gt") == 2


def test_every_generation_is_a_training_that_is_then_asked():
    born = {"distill__scheme": "self", "student__labels": "gt", "distill__until_tail": False}
    assert factor(**born, distill__generations=3) == pytest.approx(1 + 3 * (1 + 1 / 3))
    assert factor(**born, distill__self_teacher="ema") == pytest.approx(1 + 1 / 3)
    assert factor(**born, distill__self_teacher="deep") == 1


def test_images_made_by_the_teacher_cost_its_gradients():
    made = {"pseudo__synthetic": 10, "pseudo__synthetic_steps": 50, "pseudo__synthetic_imgsz": 160}
    made["distill__scheme"] = "cached"
    assert factor(asked=0, **made) == pytest.approx(1 + 3 * 210 * 10 * 50 / 4 / (21 * 100 * 20))


def test_the_default_is_a_teacher_that_labels_the_pool_and_is_asked_at_every_batch():
    assert factor() == pytest.approx(1 + (210 * 16 + 210 * 4) / (21 * 20))


def test_a_smaller_pool_to_ask_costs_less():
    assert factor(images=200, asked=100) < factor(images=200, asked=200)
