"""``summary.json``: what it holds, and that it keeps the schema that is published."""

import json
from pathlib import Path

import jsonschema
import pytest

from kdyolo.errors import DatasetError
from kdyolo.report.build import build
from kdyolo.report.load import load
from kdyolo.report.summary import schema, schema_text
from kdyolo.report.summary import summary as summarise

PUBLISHED = Path(__file__).parents[2] / "docs" / "summary.schema.json"


def summary_of(run):
    return json.loads(json.dumps(summarise(load(run)), allow_nan=False))


@pytest.fixture
def proved(synthetic, tmp_path):
    return synthetic.run(tmp_path / "run", synthetic.proof())


def test_the_published_schema_is_the_one_of_the_code():
    assert PUBLISHED.read_text(encoding="utf-8") == schema_text(), "kdyolo report --schema > docs/summary.schema.json"


def test_the_schema_is_one_and_describes_every_field():
    made = schema()
    jsonschema.Draft202012Validator.check_schema(made)
    for part in (made, *made["$defs"].values()):
        for name, field in part.get("properties", {}).items():
            assert field.get("description"), name
        assert sorted(part["required"]) == sorted(part["properties"])


@pytest.mark.parametrize("proof", [True, False])
def test_a_summary_keeps_the_schema(synthetic, tmp_path, proof):
    results = synthetic.proof() if proof else synthetic.results()
    summary = summary_of(synthetic.run(tmp_path / "run", results))
    jsonschema.validate(summary, schema(), jsonschema.Draft202012Validator)
    assert summary["schema_version"] == 1
    assert (summary["proof"]["verdict"] is not None) is proof


def test_the_schema_refuses_what_is_out_of_range(proved):
    summary = summary_of(proved)
    for change in ({"schema_version": 2}, {"images": -1}, {"verdict_name": "great"}, {"arms": []}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**summary, **change}, schema())
    summary["arms"]["student"]["mAP50_95"] = 57.4
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(summary, schema())


def test_it_says_what_the_comparison_says(proved):
    summary = summary_of(proved)
    results = json.loads((proved.stage("compare") / "results.json").read_text())
    assert summary["verdict_name"] == results["verdict"]["name"]
    assert summary["proof"]["pairs"] == results["uncertainty"]["pairs"]
    for name, arm in summary["arms"].items():
        measured = results["arms"][name]
        for key in ("model", "mAP50", "mAP75", "mAP50_95", "precision", "recall", "params", "sha256", "confidence"):
            assert arm[key] == measured[key]
        assert arm["latency_ms"]["p50"] == measured["latency_ms"]["p50"]
        assert [row["class"] for row in arm["per_class"]] == ["leaf", "spot", "mite"]
        assert arm["per_class"][2]["mAP50_95"] is None
        assert arm["mAP50_lost"] == measured["error_budget"]["lost"]
        assert set(arm["sizes"]) == {"small", "medium", "large"}
    assert summary["headline"][0]["title"] == "of the teacher's mAP kept"
    assert summary["proof"]["rare_classes"] == ["spot", "mite"]


def test_latency_quantiles_are_there_if_they_were_measured(synthetic, tmp_path):
    results = synthetic.results()
    results["arms"]["student"]["latency_ms"] |= {"p90": 12.5, "p99": 14.0}
    arms = summary_of(synthetic.run(tmp_path / "run", results))["arms"]
    assert (arms["student"]["latency_ms"]["p90"], arms["student"]["latency_ms"]["p99"]) == (12.5, 14.0)
    assert arms["teacher"]["latency_ms"]["p99"] is None


def test_it_says_what_the_run_was_made_with(run):
    made = summary_of(run)["made"]
    assert made["packages"] == {"kdyolo": "0.1.0", "torch": "2.9.1"}
    assert made["python"] == "3.11.9"
    assert len(made["settings_sha256"]) == 64
    assert made["stages"] == dict.fromkeys(("split", "pseudo", "student", "baseline", "compare"), "k")


def test_an_impossible_figure_is_refused_before_anything_is_written(synthetic, tmp_path):
    results = synthetic.results()
    results["arms"]["student"]["mAP50"] = 82.4
    run = synthetic.run(tmp_path / "run", results)
    with pytest.raises(DatasetError, match=r"impossible value: mAP50: .*less than or equal to 1"):
        build(run)
    assert not run.stage("report").exists()
