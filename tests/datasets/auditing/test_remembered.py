import os
import time

import pytest
from builders import make_yolo_dataset, tree_state

from kdyolo.config import load_config
from kdyolo.datasets.auditing import remembered
from kdyolo.datasets.auditing.remembered import summary
from kdyolo.progress import Silent


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("KDYOLO_CACHE", str(tmp_path / "cache"))
    folder = make_yolo_dataset(tmp_path / "data", splits={"train": 4, "val": 2})
    settle(folder)
    return folder


@pytest.fixture
def audits(monkeypatch):
    """One entry for each audit that was really done."""
    done, audit_dataset = [], remembered.audit_dataset

    def watched(*arguments):
        done.append(1)
        return audit_dataset(*arguments)

    monkeypatch.setattr(remembered, "audit_dataset", watched)
    return done


def settle(folder):
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (time.time() - 3600,) * 2)


def audit(source, limit=None, **overrides):
    return summary(source, load_config(overrides=overrides), limit, Silent())


def test_an_unchanged_data_set_is_audited_once(source, audits):
    before = tree_state(source)
    first = audit(source)
    assert audit(source) == first
    assert len(audits) == 1
    assert audit(source, **{"audit.cache": False}) == first
    assert len(audits) == 2
    assert tree_state(source) == before


def test_a_changed_file_is_audited_anew(source, audits):
    audit(source)
    label = source / "labels" / "train" / "img000.txt"
    label.write_text("9 0.5 0.5 0.1 0.1\n")
    found = audit(source)
    assert len(audits) == 2
    assert "labels/train/img000.txt" in str(found["findings"])
    # It was changed a moment ago, when another change could not be told from this one: nothing is kept yet.
    audit(source)
    assert len(audits) == 3
    settle(source)
    assert audit(source) == audit(source) == found
    assert len(audits) == 4


@pytest.mark.parametrize(
    ("limit", "overrides"), [(3, {}), (None, {"audit.min_side": 20}), (None, {"split.ratios": [0.5, 0.25, 0.25]})]
)
def test_another_question_gets_its_own_answer(source, audits, limit, overrides):
    audit(source)
    audit(source, limit, **overrides)
    assert len(audits) == 2


def test_a_data_set_changed_meanwhile_is_not_kept(source, audits, monkeypatch):
    read = remembered.read

    def slow(*arguments):
        dataset = read(*arguments)
        (source / "labels" / "val" / "img004.txt").unlink()
        return dataset

    monkeypatch.setattr(remembered, "read", slow)
    audit(source)
    monkeypatch.setattr(remembered, "read", read)
    audit(source)
    assert len(audits) == 2
