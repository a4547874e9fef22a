"""The page: well formed, self-contained, escaped, and its figures those of the comparison."""

import json
import re
import shlex
from itertools import pairwise

import pytest
from html_page import NASTY, Page

from kdyolo.datasets.auditing.codes import CODES
from kdyolo.report import html
from kdyolo.report.build import build
from kdyolo.report.load import load
from kdyolo.storage import RunDir


def page_of(run):
    build(run)
    text = (run.stage("report") / "report.html").read_text(encoding="utf-8")
    return Page(text), text


def test_it_is_one_self_contained_file_that_runs_only_its_own_script(run):
    page, text = page_of(run)
    page.is_self_contained(text)


def test_it_can_be_read_without_seeing_it(run):
    page, _ = page_of(run)
    assert page.tags.count("h1") == 1
    assert ("html", "lang", "en") in page.attributes
    assert all(value for tag, name, value in page.attributes if name == "aria-label")
    described = sum(1 for tag, name, value in page.attributes if tag == "svg" and (name, value) == ("role", "img"))
    labelled = sum(1 for tag, name, _ in page.attributes if tag == "svg" and name == "aria-label")
    assert described == labelled == page.tags.count("svg") > 8
    assert page.tags.count("th") == sum(1 for tag, name, _ in page.attributes if tag == "th" and name == "scope")


def test_ids_are_unique_and_links_lead_somewhere(run):
    page_of(run)[0].has_sound_ids()


def test_figures_are_those_of_the_comparison(run):
    page, _ = page_of(run)
    results = json.loads((run.stage("compare") / "results.json").read_text())
    for arm in results["arms"].values():
        for name in ("precision", "recall", "mAP50", "mAP75", "mAP50_95"):
            assert f"{arm[name]:.3f}" in page.text
        assert f"{arm['params']:,}" in page.text
        assert f"{arm['latency_ms']['p95']:.1f}" in page.text
        assert arm["sha256"] in page.text
        for row in arm["per_class"][:2]:
            assert f"{row['mAP50_95']:.3f}" in page.text
    table = page.text[page.text.index("Objects found, of 61") - 900 :]
    assert " ".join(f"{a['mAP50_95']:.3f}" for a in results["arms"].values()) in table
    assert "yolov5x distilled into yolov5n" in page.text
    for shown in ("93 %", "7.3×", "37×", "5 min 12 s", "1 h 47 min"):
        assert shown in page.text


def test_what_was_found_is_counted(run):
    page, _ = page_of(run)
    assert "Objects found, of 61 55 55 55" in page.text
    assert "False alarms 13 13 13" in page.text
    counted = page.text[page.text.index("Counted at each model's confidence;") :]
    assert "leaf 40 37 3 6 37 3 6 37 3 6" in counted
    assert "mite 0 n/a n/a n/a" in counted
    assert "best F1 on the validation images" in page.text


def test_a_comparison_that_counted_nothing_says_how_it_chose_its_confidence(tmp_path, synthetic):
    results = synthetic.results()
    del results["measured"]["confidence_from"]
    for arm in results["arms"].values():
        for part in (arm, *arm["per_class"]):
            part.pop("found", None)
    page, _ = page_of(synthetic.run(tmp_path / "run", results))
    assert "Objects found" not in page.text
    assert "Counted at" not in page.text
    assert "which flatters both figures; kdyolo compare --force" in page.text


def test_it_says_what_is_to_be_found_and_what_words_mean(run):
    page, _ = page_of(run)
    assert "To be found: leaf, spot, mite. 336 images to learn from, 72 to choose by, 72 to measure on." in page.text
    record = run.record("split")
    record.facts["pool"] = 1200
    run.write_record(record)
    assert "336 labelled images and 1,200 without labels to learn from" in page_of(run)[0].text
    assert page.text.index("To be found") < page.text.index("of the teacher's mAP kept")
    assert "The range that holds the middle 95 of 100 resampled results." in page.text


def test_it_opens_with_the_verdict_and_shows_what_was_recorded(run):
    page, _ = page_of(run)
    verdict = json.loads((run.stage("report") / "summary.json").read_text())["verdict"]
    assert page.text.index(verdict) < page.text.index("of the teacher's mAP kept")
    for shown in (
        "336",
        "truncated",
        "0.41",
        "a made-up processor",
        "60 timings of 60 images after 10",
        "model: yolov5n",
    ):
        assert shown in page.text
    assert "1 of 2 found, 0 false alarms" in page.text  # the student; its detection of score 0.05 is not drawn
    assert "1 of 2 found, 1 false alarm" in page.text
    assert "spot 0.05" not in page.text


def test_the_proof_is_shown_in_sections_of_its_own(synthetic, tmp_path):
    results = synthetic.proof()
    page, text = page_of(synthetic.run(tmp_path / "run", results))
    page.is_self_contained(text)
    page.has_sound_ids()
    for anchor in ("proof", "inherited", "errors"):
        assert ("h2", "id", anchor) in page.attributes
        assert ("a", "href", f"#{anchor}") in page.attributes
    assert page.text.index(results["verdict"]["sentence"].split(". ")[0]) < page.text.index("of the teacher's mAP kept")
    interval = results["uncertainty"]["pairs"][0]["difference"]["mAP50_95"]
    assert f"{100 * interval['low']:+.2f} to {100 * interval['high']:+.2f}" in page.text
    assert "set to 0.5 mAP points (the grey band)" in page.text
    assert "spot 21 few" in page.text
    for title in ("Difference and its 95 % interval", "What each kind of error costs", "Are scores what they say?"):
        assert ("svg", "aria-label", title) in page.attributes
    assert "What was taken for what" in page.text


def test_headings_leave_no_level_out(synthetic, tmp_path):
    page, _ = page_of(gallery_run(synthetic, tmp_path / "run"))
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert max(levels) == 4
    assert all(below <= above + 1 for above, below in pairwise(levels))


def gallery_run(synthetic, root):
    (spread,) = synthetic.examples()
    picked = [{**spread, "group": group, "boxes": boxes} for group, boxes in (("fixed", 2), ("inherited", 1))]
    return synthetic.run(root, synthetic.proof(), [spread, *picked])


def test_images_worth_a_look_are_sorted_by_what_happened(synthetic, tmp_path):
    page, text = page_of(gallery_run(synthetic, tmp_path / "run"))
    assert "Distillation fixed: the student is right where the control is wrong" in page.text
    assert "leaf 1.jpg · 2 boxes fixed" in page.text
    assert "leaf 1.jpg · 1 box inherited" in page.text
    assert "Distillation broke" not in page.text
    assert text.count('class="missed"') == 6  # three views of the image, in which student and control miss one each


def test_a_photograph_shown_several_times_is_in_the_page_once(synthetic, tmp_path):
    page, text = page_of(gallery_run(synthetic, tmp_path / "run"))
    assert text.count("data:image/jpeg") == 1
    assert text.count('<use href="#image-1"') == 11
    page.has_sound_ids()


def test_many_classes_are_listed_by_mix_ups(synthetic, tmp_path):
    names = ["leaf", "spot", *(f"class {i}" for i in range(20))]
    page, _ = page_of(synthetic.run(tmp_path / "run", synthetic.proof(names)))
    assert "the most frequent mistakes" in page.text
    assert "true classes in rows" not in page.text


def test_nasty_names_come_out_as_text(synthetic, tmp_path):
    results = synthetic.proof(NASTY)
    for arm in results["arms"].values():  # every class has a box, so that every class is plotted
        for row in arm["per_class"]:
            row.update(boxes=3, mAP50_95=0.5)
    results["arms"]["student"]["model"] = NASTY[0]
    results["warnings"] = [NASTY[0]]
    results["measured"]["processor"] = NASTY[0]
    examples = synthetic.examples(NASTY)
    examples[0]["truth"] += [{"class": name, "xyxy": [5, 5, 50, 50]} for name in NASTY]
    facts = {"split": {"boxes": {"train": dict.fromkeys(NASTY, 3)}, NASTY[0]: NASTY[0]}, "compare": {}}
    run = synthetic.run(tmp_path / "a <b> & run", results, examples, facts=facts)
    run.config.write_text(f"name: '{NASTY[0]}'\n")
    page, text = page_of(run)
    page.is_self_contained(text)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert NASTY[0] in page.text
    assert "n" * 300 in page.text
    assert "[red]bold[/red]" in page.text
    assert "{{ 7*7 }} $x_1$" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", text)


def test_without_control_and_metrics_it_says_so(synthetic, tmp_path):
    results = synthetic.results(arms=("teacher", "student"))
    results["arms"]["teacher"].update(mAP50_95=None, params=None, latency_ms=None, curves=None)
    page, text = page_of(synthetic.run(tmp_path / "run", results, examples=[], trained=()))
    assert "no control was trained" in page.text
    assert "n/a" in page.text
    assert "None" not in page.text
    assert "nan" not in page.text
    assert "Examples" not in page.text
    assert 'id="training"' not in text


@pytest.mark.parametrize("path", ["../../outside.jpg", "/etc/hostname", "images/test/none.jpg", "images/test"])
def test_examples_outside_the_split_or_unreadable_are_left_out(synthetic, tmp_path, path):
    (tmp_path / "outside.jpg").write_bytes(b"secret")
    examples = synthetic.examples()
    examples[0]["image"] = path
    page, text = page_of(synthetic.run(tmp_path / "run", examples=examples))
    assert "data:image" not in text
    assert "Examples" not in page.text


def test_many_classes_and_one_epoch_still_make_a_page(synthetic, tmp_path):
    names = [f"class {i}" for i in range(45)]
    results = synthetic.results(names)
    for arm in results["arms"].values():
        for i, row in enumerate(arm["per_class"]):
            row.update(boxes=i, mAP50_95=0.5)
    run = synthetic.run(tmp_path / "run", results, synthetic.examples(names))
    table = run.stage("student") / "results.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:2]) + "\n")
    page, _ = page_of(run)
    assert "class 0" in page.text
    assert "class 44 (44)" in page.text
    assert "class 5 (5)" not in page.text  # the plot shows the thirty with most boxes
    assert "Student (1 epoch)" in page.text


def test_every_source_is_a_file_of_the_run(synthetic, tmp_path):
    run = gallery_run(synthetic, tmp_path / "run")
    _, text = page_of(run)
    lines = re.findall(r'<p class="source">.*?</p>', text, re.DOTALL)
    assert len(lines) > 10
    named = {part.split(":")[0] for line in lines for part in re.findall("<code>(.*?)</code>", line)}
    assert {"compare/results.json", "student/results.csv", "report/inherited.csv", "manifest.json"} <= named
    assert [name for name in sorted(named) if not (run.root / name).exists()] == []


def test_commands_to_repeat_it_reach_the_shell_as_they_are(synthetic, tmp_path):
    name = "a run'; rm -rf $HOME & #"
    page, _ = page_of(synthetic.run(tmp_path / name))
    commands = html.commands(load(RunDir(tmp_path / name)))
    assert shlex.split(commands[0]) == ["pip", "install", "torch==2.9.1"]
    assert shlex.split(commands[1]) == ["kdyolo", "run", "-c", f"./{name}/config.yaml", "--run", f"./{name}-again"]
    assert shlex.split(commands[2]) == ["kdyolo", "report", f"./{name}"]
    assert all(command in page.text for command in commands)


def test_what_the_audit_found_is_told(synthetic, tmp_path):
    run = synthetic.run(tmp_path / "run")
    found = [
        {"code": "box_overlap", "severity": "warning", "count": 1234},
        {"code": NASTY[0], "severity": "note", "count": 2},
    ]
    (run.stage("split") / "audit.json").write_text(json.dumps({"findings": found}))
    page, text = page_of(run)
    page.is_self_contained(text)
    assert f"{CODES['box_overlap'].title} warning 1,234 box_overlap" in page.text
    assert f"{NASTY[0]} note 2" in page.text
    (run.stage("split") / "audit.json").write_text('{"findings": [1, null]}')
    assert "What the audit found" not in page_of(run)[0].text


def test_many_epochs_do_not_blow_the_page_up(synthetic, tmp_path):
    run = synthetic.run(tmp_path / "run")
    _, short = page_of(run)
    for stage in ("teacher", "student", "baseline"):
        table = run.stage(stage) / "results.csv"
        head, *rows = table.read_text().splitlines()
        many = [re.sub(r"^\d+", str(epoch), rows[epoch % len(rows)]) for epoch in range(1, 301)]
        table.write_text("\n".join([head, *many]) + "\n")
    assert len(page_of(run)[1]) < len(short) + 1_500_000
