"""What a student hears of classes that nobody looked for in its unlabelled images, whoever is its teacher."""

import dataclasses

import numpy as np
import pytest
import tiny

from kdyolo import api
from kdyolo.config import load_config
from kdyolo.distill.plan import Distillation
from kdyolo.stages import teaching
from kdyolo.stages.base import StageContext
from kdyolo.storage import RunDir

pytestmark = pytest.mark.slow

BESIDE = {
    "labels": {"distill.scheme": "labels"},
    "online-teacher": {"distill.scheme": "online-teacher", "distill.method": "response"},
    "mutual": {"distill.scheme": "mutual"},
    "ema": {"distill.scheme": "self", "distill.self_teacher": "ema"},
    "deep": {"distill.scheme": "self", "distill.self_teacher": "deep"},
    "born-again": {"distill.scheme": "self", "distill.generations": 2},
}
UNKNOWN = [False, False, False, True]


@pytest.fixture(scope="module")
def forgetful(demo_set, lively, tmp_path_factory):
    """A run as far as its pseudo-labels, by a teacher that does not know the last class."""
    some = {"teacher.map_classes": {name: name for name in tiny.CLASSES[:-1]}, "pseudo.conf": 0.6}
    run = tiny.adopt(demo_set, tmp_path_factory.mktemp("forgetful") / "run", lively, **some)
    api.pseudo_label(run.root)
    return run.root


def told(root, settings, monkeypatch):
    """Lessons of which every other one is unlabelled, and every distillation made for them, the student's last."""
    run, made = RunDir(root), []
    context = StageContext(run, load_config(run.config, overrides=settings), tiny.Notes())
    lessons = [
        dataclasses.replace(lesson, unlabelled=number % 2 == 0)
        for number, lesson in enumerate(teaching.lessons_of(context, "pseudo"))
    ]
    monkeypatch.setattr(teaching, "train_model", lambda *arguments: made.append(arguments[4]) or {})
    made.append(teaching.distillation(context, lessons, [lesson.image for lesson in lessons], 0, ""))
    return lessons, made


@pytest.mark.parametrize("name", BESIDE)
def test_only_unlabelled_images_have_unknown_classes(forgetful, monkeypatch, name):
    lessons, made = told(forgetful, BESIDE[name], monkeypatch)
    unlabelled = {lesson.image.name for lesson in lessons if lesson.unlabelled}
    assert len(made) == (3 if name == "born-again" else 1)
    for distillation in made:
        assert distillation.hearsay.keys() == unlabelled
        assert all(each.unknown.tolist() == UNKNOWN for each in distillation.hearsay.values())
        assert all(each.soft is None and not each.ignored.any() for each in distillation.hearsay.values())
    weights = {"born-again": [0.0, 1.0, 1.0], "labels": [0.0]}
    assert [each.settings.weight for each in made] == weights.get(name, [1.0])


@pytest.mark.parametrize("name", BESIDE)
def test_a_teacher_that_knows_all_classes_changes_nothing(labelled, monkeypatch, name):
    _, made = told(labelled, BESIDE[name], monkeypatch)
    heard = {"born-again": [None, {}, {}], "labels": [None]}
    assert [each and dict(each.hearsay) for each in made] == heard.get(name, [{}])


def test_stored_answers_of_every_image_and_zones_of_unlabelled_ones(forgetful, monkeypatch):
    lessons, (distillation,) = told(forgetful, {"distill.scheme": "cached"}, monkeypatch)
    assert isinstance(distillation, Distillation)
    doubtful = 0
    for lesson in lessons:
        each = distillation.hearsay[lesson.image.name]
        assert each.unknown.tolist() == (UNKNOWN if lesson.unlabelled else [False] * 4)
        expected = (each.soft.score >= 0.3) & (each.soft.score < 0.6) & lesson.unlabelled
        assert np.array_equal(each.ignored, expected)
        sure = np.column_stack([each.soft.cls, each.soft.xywhn])[each.soft.score >= 0.6]
        assert len(lesson.labels.splitlines()) == len(np.unique(sure.round(5), axis=0))  # clipped boxes may be copies
        doubtful += each.ignored.sum()
    assert doubtful > 0


@pytest.mark.parametrize("name", ["labels", "online-teacher", "born-again"])
def test_no_step_teaches_that_an_unknown_class_is_absent(forgetful, tmp_path, monkeypatch, name):
    from kdyolo.distill import criterion

    run, seen = tiny.copy_run(forgetful, tmp_path / "run"), []
    forward = criterion._Deaf.forward

    def watched(self, scores, targets):
        loss = forward(self, scores, targets)
        if scores.requires_grad:
            taught = (loss != 0).flatten(0, 1).float().mean(0).tolist()
            seen.append(taught)
        return loss

    monkeypatch.setattr(criterion._Deaf, "forward", watched)
    settings = {**BESIDE[name], "distill.generations": 1, "student.labels": "pseudo"}
    record = api.train_student(run.root, settings=settings)
    trainings = 1 + len(record.facts.get("generations", ()))
    assert len(seen) >= 12 * trainings
    assert all(taught[:3] == [1, 1, 1] for taught in seen)
    columns = (run.stage("student") / "results.csv").read_text(encoding="utf-8").splitlines()[0]
    assert ("scheme" in record.facts) == ("kd_" in columns) == (name != "labels")
    assert all(taught[3] < 0.6 for taught in seen)  # only on the grey border, where nothing can be
    assert min(taught[3] for taught in seen) < 0.2
