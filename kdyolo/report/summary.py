"""``summary.json``: the whole result as plain data for programs, and the JSON schema that it keeps.

Fields may be added within a schema version; one is removed, renamed or given another meaning only in the next.
Figures that were not measured are null, never 0.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

import kdyolo
from kdyolo.errors import DatasetError
from kdyolo.report import cautions, proof, verdict
from kdyolo.report.load import Arm, Inputs
from kdyolo.report.summary_parts import Amount, ArmSummary, Count, Headline, Made, Part, Proof, VerdictName

SCHEMA_VERSION: Final = 1


class Summary(Part):
    """The result of a compared run. Figures that were not measured are null."""

    schema_version: Literal[1] = Field(description="Version of this schema.")
    created_by: str = Field(description="Program and version that wrote this file.")
    run: str = Field(description="Name of the run directory.")
    split: str = Field(description="Compared split.")
    images: Count | None = Field(description="Images of that split.")
    classes: list[str] = Field(description="Classes, in the order of the data set.")
    verdict: str = Field(description="Whether distillation helped, in sentences.")
    verdict_name: VerdictName | None = Field(description="The same in a word; null where not measured.")
    headline: list[Headline] = Field(description="The four figures at the top of the page.")
    warnings: list[str] = Field(description="What to know before trusting the figures, in sentences.")
    arms: dict[str, ArmSummary] = Field(description="teacher, student, control, longer: those that were measured.")
    confidence_from: str = Field(description="Split on which the operating points were chosen: val, once test.")
    student_keeps: Amount | None = Field(description="mAP50-95 of the student over that of the teacher.")
    speed_up: Amount | None = Field(description="Median latency of the teacher over that of the student.")
    size_ratio: Amount | None = Field(description="File size of the teacher over that of the student.")
    proof: Proof = Field(description="How sure the result is, and what the student inherited.")
    made: Made = Field(description="What the run was made with.")


def summary(inputs: Inputs) -> dict[str, Any]:
    """The result as plain data that keeps the schema.

    Raises:
        DatasetError: The comparison holds something that no comparison of ours can hold.
    """
    results = inputs.results
    try:
        made = Summary(
            schema_version=SCHEMA_VERSION,
            created_by=f"kdyolo {kdyolo.__version__}",
            run=inputs.name,
            split=results.split,
            images=results.images,
            classes=results.classes,
            verdict=verdict.verdict(results),
            verdict_name=results.verdict.get("name"),
            headline=[Headline.model_validate(figure) for figure in verdict.headline(results)],
            warnings=cautions.warnings(results),
            arms={name: _arm(arm) for name, arm in inputs.arms.items()},
            confidence_from=results.measured.get("confidence_from") or results.split,
            student_keeps=results.student_keeps,
            speed_up=verdict.speed_up(results),
            size_ratio=verdict.size_ratio(results),
            proof=_proof(inputs),
            made=_made(inputs),
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"The comparison of {inputs.name} has an impossible value: {where}: {first['msg']}."
        raise DatasetError(message, "Run `kdyolo compare` again.") from error
    return made.model_dump(mode="json", by_alias=True)


def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of what `summary` returns."""
    made = Summary.model_json_schema(by_alias=True, mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def schema_text() -> str:
    """The same as the text of ``docs/summary.schema.json``."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _arm(arm: Arm) -> ArmSummary:
    plain = arm.model_dump(by_alias=True)
    plain["mAP50_lost"] = arm.error_budget.get("lost", {})
    plain["calibration"] = arm.calibration or None
    return ArmSummary.model_validate(plain)


def _proof(inputs: Inputs) -> Proof:
    results = inputs.results
    return Proof.model_validate(
        {
            "verdict": results.verdict or None,
            "resamples": results.uncertainty.get("resamples"),
            "trainings": results.uncertainty.get("seeds"),
            "min_effect_points": results.measured.get("min_effect"),
            "rare_classes": proof.rare_classes(results),
            "pairs": results.uncertainty.get("pairs", []),
            "inheritance": results.inheritance.get("errors", {}),
        }
    )


def _made(inputs: Inputs) -> Made:
    names = ("dataset_sha256", "seed", "split_seed", "git_commit", "python", "platform", "cpu")
    packages = {"kdyolo": inputs.manifest.get("kdyolo"), **(inputs.manifest.get("packages") or {})}
    return Made.model_validate(
        {
            **{name: inputs.manifest.get(name) for name in names},
            "settings_sha256": inputs.config_sha256,
            "packages": {name: version for name, version in packages.items() if version},
            "stages": {name: record.key for name, record in inputs.records.items() if record.status == "done"},
        }
    )
