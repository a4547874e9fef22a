"""``report.md``: the figures of the page, in a text that fits into a pull request."""

import re

import pytest
from markdown_it import MarkdownIt

from kdyolo.report import cautions, markdown, verdict
from kdyolo.report.load import load

MOST = 65_536  # characters that GitHub takes for one comment
PARSER = MarkdownIt("commonmark").enable("table")


@pytest.fixture
def proved(synthetic, tmp_path):
    return synthetic.run(tmp_path / "run", synthetic.proof())


def text_of(run):
    return markdown.report(load(run))


def tables_of(text):
    """Every table as rows of cells."""
    found = re.findall(r"(?:^\|.*\|\n?)+", text, re.MULTILINE)
    return [[[c.strip() for c in line[1:-1].split("|")] for line in table.splitlines()] for table in found]


def test_it_tells_the_story_of_the_page(proved):
    text, results = text_of(proved), load(proved).results
    first = verdict.verdict(results).split(". ")[0]
    assert f"> **{first}" in text
    for figure in verdict.headline(results):
        assert figure.value in text
        assert figure.note in text
    for warning in cautions.warnings(results):
        assert f"> - {warning}" in text
    headings = re.findall(r"^### (.*)$", text, re.MULTILINE)
    assert headings == [
        *("Result", "How sure", "What was inherited", "Errors, sizes and calibration", "Classes", "Speed", "Data"),
        "How it was made",
    ]


def test_the_final_table_has_every_arm_and_figure(proved):
    table = next(t for t in tables_of(text_of(proved)) if t[0][-1] == "Control")
    rows = {row[0]: row[1:] for row in table[2:]}
    assert rows["mAP50-95"] == ["0.620", "0.574", "0.561"]
    assert rows["Median ms per image (p50)"] == ["84.0", "11.5", "11.5"]
    assert rows["Training time"] == ["1 h 47 min", "5 min 12 s", "5 min 12 s"]


def test_intervals_and_classes_are_those_of_the_comparison(proved):
    text, results = text_of(proved), load(proved).results
    for row in markdown.main_differences(results):
        assert f"| {' | '.join(row)} |" in text
    assert re.search(r"\| spot \| 21 \|.*\| few boxes \|", text)
    assert "| mite | 0 | n/a | n/a | n/a |" in text


def test_every_line_of_a_table_has_as_many_cells_as_its_head(proved):
    tables = tables_of(text_of(proved))
    assert len(tables) > 10
    for table in tables:
        assert {len(row) for row in table} == {len(table[0])}, table[0]


def test_long_parts_are_folded_and_the_folds_are_closed(proved):
    text = text_of(proved)
    assert text.count("<details>") == text.count("</details>") == text.count("<summary>")
    open_part = re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL)
    assert len(open_part) < 6000
    assert "student:\n  model: yolov5n" not in open_part


def test_a_comparison_without_proof_has_no_empty_sections(run):
    text = text_of(run)
    assert "### How sure" not in text
    assert "### What was inherited" not in text
    assert "Student - control (points)" not in text
    assert "\n\n\n" not in text


def test_a_thousand_classes_still_fit_into_a_comment(synthetic, tmp_path):
    names = [f"species_{'x' * 300}_{i}" for i in range(1000)]
    run = synthetic.run(tmp_path / "run", synthetic.results(names), synthetic.examples(names))
    text = text_of(run)
    assert len(text) < MOST
    assert "900 more in `per\\_class.csv`" in text or "900 more in `per_class.csv`" in text


def test_hostile_names_stay_names(synthetic, tmp_path):
    names = ["a|b", "<img src=x onerror=alert(1)>", "@everyone `x` [y](http://z.io)\n# h"]
    results = synthetic.results(names)
    results["arms"]["student"]["model"] = "</details>|<script>"
    run = synthetic.run(tmp_path / "run", results, synthetic.examples(names))
    run.config.write_text("a: |\n  ```\n  </details> <script>alert(1)</script>\n")
    text = text_of(run)
    rendered = PARSER.render(text)
    outside = re.sub("<pre>.*?</pre>", "", rendered, flags=re.DOTALL)
    assert not re.search("<(img|script|a|h1)", outside)
    assert "a|b" in outside
    assert outside.count("</details>") == text.count("<details>")
    assert "&lt;/details&gt; &lt;script&gt;" in rendered


def test_every_figure_may_be_missing(synthetic, tmp_path):
    results = synthetic.results()
    for arm in results["arms"].values():
        arm.update(dict.fromkeys(arm, None))
    results.update(dict.fromkeys(("images", "student_keeps", "measured", "same_start", "versions"), None))
    text = text_of(synthetic.run(tmp_path / "run", results))
    assert "| mAP50-95 | n/a | n/a | n/a |" in text
    assert not re.search(r"\b(None|nan)\b", text)
