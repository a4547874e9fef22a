from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdyolo.config import Config, TeacherSettings, changed_keys, known_keys, load_config, stable_hash
from kdyolo.errors import ConfigError
from kdyolo.yamlio import dump_yaml


def test_defaults_are_those_of_the_documents():
    config = load_config()
    assert (config.teacher.model, config.student.model) == ("yolov5x", "yolov5n")
    assert (config.student.imgsz, config.student.batch, config.student.epochs) == (640, 5, 10)
    assert config.split.ratios == (0.7, 0.15, 0.15)


def test_later_sources_win(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("seed: 1\nstudent: {epochs: 2, batch: 3}\n")
    base = Config(seed=9)
    config = load_config(file, ["student.epochs=4", "student.lr0=0.01"], {"student.lr0": 0.02, "seed": None}, base)
    assert (config.seed, config.student.epochs, config.student.batch, config.student.lr0) == (1, 4, 3, 0.02)
    assert base.seed == 9


def test_assignments_are_split_on_the_first_equals_sign_and_read_as_yaml():
    config = load_config(assignments=["data.source=/x/a=b", "split.ratios=[0.8,0.1,0.1]", "pseudo.conf={cat: 0.4}"])
    assert config.data.source == Path("/x/a=b")
    assert config.split.ratios == (0.8, 0.1, 0.1)
    assert config.pseudo.conf == {"cat": 0.4}
    assert load_config(assignments=["pseudo.conf="]).pseudo.conf is None


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("student.epoch=3", "Did you mean 'student.epochs'"),
        ("studnt.epochs=3", "Unknown key: 'studnt'"),
        ("seed.x=3", "seed: Input should be a valid integer"),
        ("student.epochs=0", "student.epochs"),
        ("seed=no", "seed: must be a number (got False)"),
        ("runtime.threads=yes", "must be a number"),
        ("student.lr0=true", "must be a number"),
        ("student.epochs=many", "got 'many'"),
        ("student.imgsz=650", "nearest: 640"),
        ("split.ratios=[0.5,0.5,0.5]", "sum to 1"),
        ("split.ratios=[1,0,0]", "above 0"),
        ("student.lr0=.nan", "student.lr0"),
        ("student.model=yolov8n", "choose one of yolov5n, yolov5s, yolov5m, yolov5l, yolov5x"),
        ("teacher.model=yolov5x6", "choose one of"),
        ("pseudo.conf=1.5", "between 0 and 1"),
        ("pseudo.conf={cat: 0.5, dog: -0.1}", "between 0 and 1"),
        ("pseudo.imgsz=650", "nearest: 640"),
        ("student.optimizer=auto", "optimizer"),
        ("no equals sign", "key=value"),
        ("=3", "key=value"),
        ("seed=[1", "not valid YAML"),
    ],
)
def test_wrong_settings_say_what_and_where(assignment, told):
    with pytest.raises(ConfigError) as caught:
        load_config(assignments=[assignment])
    assert told in caught.value.message + caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("given", ["yolov5x", "x", "X", "yolov5xu", "YOLOv5x.pt", "yolov5xu.pt", "yolov5x.yaml"])
def test_a_model_has_one_name(given):
    assert load_config(assignments=[f"teacher.model={given}"]).teacher.model == "yolov5x"
    config = Config()
    config.student.model = given
    assert config.student.model == "yolov5x"


def test_one_start_at_most():
    both = ["student.weights=/w.pt", "student.from_scratch=true"]
    with pytest.raises(ConfigError) as caught:
        load_config(assignments=both)
    assert "-S student.weights=null" in caught.value.message
    assert "got" not in caught.value.message
    base = load_config(assignments=both[:1])
    with pytest.raises(ConfigError, match="exclude each other"):
        load_config(overrides={"student.from_scratch": True}, base=base)
    assert load_config(assignments=["student.weights=null", both[1]], base=base).student.from_scratch
    with pytest.raises(ValueError, match=r"-S teacher\.weights=null"):
        TeacherSettings(weights=Path("w.pt"), from_scratch=True)


def test_a_file_replaces_mappings_and_lays_sections_over_each_other(tmp_path):
    base = load_config(assignments=["pseudo.conf={cat: 0.4, dog: 0.5}", "teacher.map_classes={a: b}", "pseudo.iou=0.5"])
    file = tmp_path / "run.yaml"
    file.write_text("pseudo: {conf: {cat: 0.3}}\nteacher: {map_classes: {c: d}}\n")
    config = load_config(file, base=base)
    assert (config.pseudo.conf, config.teacher.map_classes) == ({"cat": 0.3}, {"c": "d"})
    assert config.pseudo.iou == 0.5


def test_every_key_is_described_and_unknown_ones_are_refused():
    keys = known_keys()
    assert {"seed", "data.source", "student.augment.mosaic"} <= set(keys)
    assert len(keys) == len(set(keys))
    for name, field in Config.model_fields.items():
        assert field.description, name


def test_a_dumped_config_loads_as_itself(tmp_path):
    config = load_config(assignments=["student.epochs=3", "teacher.map_classes={a: b}", "data.source=/x"])
    (tmp_path / "config.yaml").write_text(dump_yaml(config.model_dump(mode="json")))
    assert load_config(tmp_path / "config.yaml") == config


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.booleans())))
def test_hashes_do_not_depend_on_the_order_of_keys(data):
    assert stable_hash(data) == stable_hash(dict(reversed(data.items())))
    assert stable_hash(data) != stable_hash({**data, "one more key": 1})


def test_a_file_is_named_where_the_fault_is_its_own(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("student: {epoch: 3}")
    with pytest.raises(ConfigError, match=r"mine\.yaml: Unknown key: 'student\.epoch'"):
        load_config(file)
    file.write_text("student: {epochs: 3}")
    with pytest.raises(ConfigError, match=r"^student\.imgsz"):
        load_config(file, ["student.imgsz=33"])


def test_changed_keys_give_back_what_was():
    old = load_config(overrides={"student.epochs": 7, "data.source": Path("/x")})
    new = load_config(assignments=["student.epochs=8", "student.augment.mosaic=0", "data.source=null"], base=old)
    assert changed_keys(old, new) == {"student.epochs": 7, "student.augment.mosaic": 1.0, "data.source": "/x"}
    assert changed_keys(old, old) == {}


@pytest.mark.parametrize(
    ("given", "weight"),
    [
        ({}, 1.0),
        ({"distill.method": "response"}, 1.0),
        ({"distill.scheme": "cached"}, 1.0),
        ({"distill.scheme": "cached", "distill.method": "hinton"}, "auto"),
        ({"distill.scheme": "self"}, 1.0),
        ({"teacher.checkpoint": "a.pt", "teacher.more": ["b.pt"]}, 1.0),
        ({"distill.method": "response+box"}, "auto"),
        ({"distill.method": "cwd"}, "auto"),
        ({"distill.method": "cwd", "distill.weight": 2}, 2.0),
        ({"distill.weight": "auto"}, "auto"),
    ],
)
def test_a_weight_left_out_follows_from_the_method(given, weight):
    config = load_config(overrides=given)
    assert config.distilling.model_dump() == {**config.distill.model_dump(), "weight": weight}
    assert config.distilling.method == given.get("distill.method", "response")
