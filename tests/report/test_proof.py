"""How sure the figures are, as rows of text: every one is that of the comparison."""

import pytest

from kdyolo.report import proof
from kdyolo.report.load import Results


@pytest.fixture
def results(synthetic):
    return Results.model_validate(synthetic.proof())


def test_differences_are_those_of_the_intervals_in_points(results):
    rows = proof.differences(results)
    assert [row[:2] for row in rows[:3]] == [["student - control", name] for name in ("mAP50-95", "mAP50", "mAP75")]
    assert len(rows) == 9
    interval = results.uncertainty["pairs"][0]["difference"]["mAP50_95"]
    low, high = interval["low"], interval["high"]
    assert rows[0][2:4] == [f"{100 * interval['estimate']:+.2f}", f"{100 * low:+.2f} to {100 * high:+.2f}"]


def test_classes_are_flagged_where_boxes_are_few(results):
    rows = {row[0]: row for row in proof.class_differences(results)}
    assert rows["leaf"][1] == "37"
    assert rows["leaf"][-1] == ""
    assert rows["spot"][1] == "11"
    assert rows["spot"][-1] == "few boxes"
    assert rows["mite"][2:] == ["n/a", "n/a", "n/a", "few boxes"]


def test_inherited_errors_are_counted_in_the_order_of_the_head(results):
    rows = proof.inherited(results)
    counts = results.inheritance["errors"]["missed"]
    assert len(rows[0]) == len(proof.INHERITED_HEAD)
    assert rows[0][0] == "objects missed"
    by_title = dict(zip(proof.INHERITED_HEAD, rows[0], strict=True))
    assert by_title["Teacher"] == str(counts["teacher"])
    assert by_title["Student alone copied"] == str(counts["copied_beyond_control"])
    assert by_title["Control added"] == str(counts["control_added"])


def test_the_sentence_about_copies_counts_all_kinds(results):
    errors = results.inheritance["errors"].values()
    teacher, copied = (sum(counts[name] for counts in errors) for name in ("teacher", "copied"))
    told = proof.copied(results)
    assert told.startswith(f"Of {teacher} errors of the teacher")
    assert f"the student makes {100 * copied / teacher:.0f} % too" in told


def test_costs_of_errors_are_in_points_by_arm(results):
    costs = proof.error_costs(results.arms)
    assert list(costs["object missed"]) == ["teacher", "student", "control"]
    lost = results.arms["control"].error_budget["lost"]["missed"]
    assert costs["object missed"]["control"] == pytest.approx(100 * lost)


def test_confusions_share_each_row(results):
    tables = {table.arm: table for table in proof.confusions(results.arms)}
    student = tables["student"]
    assert student.names == ["leaf", "spot", "mite", proof.NOTHING]
    assert sum(student.rows[0]) == 37
    assert sum(student.shares[0]) == pytest.approx(1)
    assert student.shares[2] == [0, 0, 0, 0]
    assert student.is_small
    assert student.mix_ups[0][:2] in (["leaf", "nothing"], ["nothing", "leaf"])
    assert all(true != taken for true, taken, _ in student.mix_ups)


def test_trainings_of_several_seeds_stand_side_by_side(results):
    for name, scores in (("student", (0.5, 0.52)), ("control", (0.49, None))):
        results.arms[name].seeds = [{"seed": 3 + i, "mAP50_95": score} for i, score in enumerate(scores)]
    assert proof.by_seed(results.arms) == (
        ["Seed", "student", "control"],
        [["3", "0.500", "0.490"], ["4", "0.520", "n/a"]],
    )


def test_what_was_not_measured_gives_nothing(synthetic):
    old = Results.model_validate(synthetic.results())
    for rows in (proof.differences, proof.class_differences, proof.inherited, proof.rare_classes):
        assert rows(old) == []
    assert proof.copied(old) == proof.fidelity(old) == proof.kept(old) == ""
    assert proof.by_seed(old.arms) == (["Seed"], [])
    assert proof.error_costs(old.arms) == proof.difference(old, "student", "control") == {}
    assert proof.confusions(old.arms) == proof.sizes(old.arms) == proof.calibration(old.arms) == []
