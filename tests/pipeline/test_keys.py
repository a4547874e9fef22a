"""How two identities of a stage differ."""

from kdyolo.pipeline.keys import Identity, differences
from kdyolo.storage import StageRecord


def recorded(settings):
    return StageRecord(
        stage="pseudo", status="done", key="k", sequence=1, settings=settings, inputs={}, versions={}, facts={}
    )


def test_a_setting_that_is_new_since_the_record_and_has_its_default_is_no_change():
    now = Identity({"conf": 0.1, "made": {"number": 0}}, {}, {}, {"conf": 0.5, "made": {"number": 0}})
    assert differences(recorded({"conf": 0.1}), now) == []
    assert differences(recorded({"conf": 0.5}), now) == ["setting conf: 0.5 -> 0.1"]


def test_a_new_setting_with_another_value_and_one_that_is_gone_are_changes():
    now = Identity({"conf": 0.1, "made": {"number": 8}}, {}, {}, {"conf": 0.1, "made": {"number": 0}})
    assert differences(recorded({"conf": 0.1}), now) == ["setting made.number: null -> 8"]
    assert differences(recorded({"conf": 0.1, "old": 3, "made": {"number": 8}}), now) == ["setting old: 3 -> null"]
