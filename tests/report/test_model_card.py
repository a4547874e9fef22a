"""``model_card.md``: front matter that the Hub reads, and a text that claims no more than was measured."""

import re

import pytest
import yaml
from markdown_it import MarkdownIt

from kdyolo.report import cautions, verdict
from kdyolo.report.build import build
from kdyolo.report.load import load
from kdyolo.report.model_card import model_card


def card_of(run):
    """Front matter and text."""
    content = model_card(load(run))
    opening, front, text = re.split(r"^---$", content, maxsplit=2, flags=re.MULTILINE)
    assert opening == ""
    return yaml.safe_load(front), text


@pytest.fixture
def proved(synthetic, tmp_path):
    return synthetic.run(tmp_path / "run", synthetic.proof())


def test_the_front_matter_is_what_the_hub_reads(proved):
    front, _ = card_of(proved)
    assert front["license"] == "agpl-3.0"
    assert front["library_name"] == "ultralytics"
    assert front["pipeline_tag"] == "object-detection"
    assert {"object-detection", "yolov5n", "knowledge-distillation"} <= set(front["tags"])
    assert front["metrics"] == ["mAP50", "mAP50-95", "precision", "recall"]
    assert front["teacher_model"] == "yolov5x"


def test_the_model_index_holds_the_figures_of_the_test_split(proved):
    front, _ = card_of(proved)
    student = load(proved).arms["student"]
    (entry,) = front["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == "yolov5n-run"
    assert result["task"] == {"type": "object-detection"}
    assert (result["dataset"]["type"], result["dataset"]["split"]) == ("custom", "test")
    assert result["dataset"]["name"]
    assert {metric["type"]: metric["value"] for metric in result["metrics"]} == {
        "mAP50": student.mAP50,
        "mAP50-95": student.mAP50_95,
        "precision": student.precision,
        "recall": student.recall,
    }


def test_the_hub_library_reads_it(proved):
    hub = pytest.importorskip("huggingface_hub")
    build(proved)
    card = hub.ModelCard.load(proved.stage("report") / "model_card.md")
    found = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert found["mAP50-95"] == load(proved).arms["student"].mAP50_95
    assert card.data.library_name == "ultralytics"


def test_the_text_has_verdict_limits_speed_and_how_to_load(proved):
    _, text = card_of(proved)
    results = load(proved).results
    first, _, rest = verdict.verdict(results).partition(". ")
    assert f"> **{first}.** {rest}\n" in text
    for warning in cautions.warnings(results):
        assert f"- {warning}" in text
    assert "Classes with too few boxes in the test split to say much about: spot, mite." in text
    assert 'model = YOLO("best.pt")' in text
    assert 'model.predict("image.jpg", imgsz=320, conf=0.340)' in text
    assert "| mAP50-95 | 0.620 | 0.574 | 0.561 |" in text
    assert results.arms["student"].sha256 in text
    for heading in ("Intended use", "How it was distilled", "Results", "Limitations", "Speed", "Training data"):
        assert f"## {heading}\n" in text


def test_no_folder_of_this_machine_is_published(synthetic, tmp_path):
    facts = {"split": {"source": "/home/jdoe/secret/cells/data.yaml"}, "student": {}, "compare": {}}
    run = synthetic.run(tmp_path / "run", facts=facts)
    front, text = card_of(run)
    assert front["model-index"][0]["results"][0]["dataset"]["name"] == "cells"
    assert "jdoe" not in str(front) + text
    assert str(tmp_path) not in text


def test_only_a_student_of_official_weights_names_a_base_model(synthetic, tmp_path):
    for scratch in (True, False):
        run = synthetic.run(tmp_path / str(scratch))
        record = run.record("student")
        record.settings = {"student": {"from_scratch": scratch, "weights": None}}
        run.write_record(record)
        front, text = card_of(run)
        assert front.get("base_model") == (None if scratch else "Ultralytics/YOLOv5")
        assert ("| Began with | random weights |" in text) is scratch


def test_a_run_without_a_student_has_no_card(synthetic, tmp_path, run):
    build(run)
    card = run.stage("report") / "model_card.md"
    assert card.is_file()
    other = synthetic.run(tmp_path / "other", synthetic.results(arms=("teacher",)))
    other.stage("report").mkdir()
    card.rename(other.stage("report") / card.name)
    assert card.name not in {file.name for file in build(other)}
    assert not (other.stage("report") / card.name).exists()


def test_hostile_names_break_neither_front_matter_nor_text(synthetic, tmp_path):
    evil = "a: b\n---\n- &x [*x] | <script>"
    results = synthetic.results([evil, "b|c", "d"])
    results["arms"]["student"]["model"] = results["arms"]["teacher"]["model"] = evil
    facts = {"split": {"source": "/x/!!python/object: {a|b} #"}, "student": {}, "compare": {}}
    run = synthetic.run(tmp_path / "---\nrun", results, synthetic.examples([evil, "b|c", "d"]), facts=facts)
    front, text = card_of(run)
    assert front["teacher_model"] == "a: b --- - &x [*x] | <script>"
    assert front["model-index"][0]["results"][0]["dataset"]["name"] == "object: {a|b} #"
    assert "<script" not in re.sub("<pre>.*?</pre>", "", MarkdownIt("commonmark").enable("table").render(text))


def test_no_figure_no_result(synthetic, tmp_path):
    results = synthetic.results()
    for arm in results["arms"].values():
        arm.update(dict.fromkeys(arm, None))
    front, text = card_of(synthetic.run(tmp_path / "run", results))
    assert "model-index" not in front
    assert not re.search(r"\b(None|nan)\b", text)
