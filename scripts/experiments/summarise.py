"""What the table of `run.py` says: mean, spread, and the paired difference from the control with a 95 % interval.

    python scripts/experiments/summarise.py runs/experiments/results.csv [--baseline "online native"]
    python scripts/experiments/summarise.py scripts/experiments/results.csv --into docs/benchmarks.md

One table for each data set and condition, in markdown, best validation first: what is chosen is chosen on validation,
and the test column only says what came of it. With several seeds the difference is paired by seed and its interval is
Student's t over the seeds; with one there is none. Seconds are those of the fastest training (an empty field: it was
stopped on the way, which counts as time). A last table takes all of them together: such trainings share test images
and controls, so it counts and has no interval. Needs `pip install 'kdyolo[bench]'`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

MEASURES = ("val_mAP50_95", "test_mAP50_95")
CONDITIONS = {
    "all": "all labels, for teacher and student",
    "eighth": "one label in eight for teacher and student, the other images as a pool",
    "bought": "one label in eight for the student and the other images as a pool, a teacher that had all labels",
}
MARKER = "<!-- tables of scripts/experiments/summarise.py -->"


def gaps(table: pd.DataFrame, arm: str, baseline: str, measure: str) -> pd.Series:
    """Arm minus baseline in points, of each data set, condition and seed that has both."""
    keys = ["data", "condition", "seed"]
    ours, theirs = (table[table.arm == name].set_index(keys)[measure] for name in (arm, baseline))
    return 100 * (ours - theirs).dropna()


def difference(table: pd.DataFrame, arm: str, baseline: str, measure: str) -> str:
    """Arm minus baseline in points, paired by seed."""
    gap = gaps(table, arm, baseline, measure)
    if len(gap) < 2:
        return f"{gap.mean():+.1f}" if len(gap) else "n/a"
    half = stats.t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / np.sqrt(len(gap))
    return f"{gap.mean():+.1f} [{gap.mean() - half:+.1f}, {gap.mean() + half:+.1f}]"


def rows(table: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """One row an arm, best on validation first."""
    found = []
    for arm, group in table.groupby("arm", sort=False):
        row: dict[str, object] = {"arm": arm, "seeds": len(group)}
        for measure in MEASURES:
            short = measure.removesuffix("_mAP50_95")
            spread = f" +- {100 * group[measure].std(ddof=1):.1f}" if len(group) > 1 else ""
            row[short] = f"{100 * group[measure].mean():.1f}{spread}"
            row[f"{short}, difference"] = "" if arm == baseline else difference(table, str(arm), baseline, measure)
        row["seconds"] = "" if group.train_seconds.isna().all() else f"{group.train_seconds.min():.0f}"
        found.append((group[MEASURES[0]].mean(), row))
    return best_first(found)


def together(table: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """One row an arm that has as many trainings as the baseline: how often it was above; mean and least by condition.

    Each data set under each condition counts alike in the mean, with however many trainings.
    """
    found = []
    for arm in table.arm.unique():
        gap = {measure: gaps(table, arm, baseline, measure) for measure in MEASURES}
        count = len(gap[MEASURES[0]])
        if arm == baseline or count < (table.arm == baseline).sum():
            continue
        row: dict[str, object] = {"arm": arm}
        means = {measure: values.groupby(["data", "condition"]).mean() for measure, values in gap.items()}
        for measure, values in gap.items():
            short = measure.removesuffix("_mAP50_95")
            row[f"{short}, mean difference"] = f"{means[measure].mean():+.1f}"
            row[f"{short}, least"] = f"{means[measure].min():+.1f}"
            row[f"{short}, above"] = f"{(values > 0).sum()} of {count}"
        found.append((means[MEASURES[0]].mean(), row))
    return best_first(found)


def best_first(found: list[tuple[float, dict[str, object]]]) -> pd.DataFrame:
    """Rows by what they are ranked by, the highest first."""
    return pd.DataFrame([row for _, row in sorted(found, key=lambda item: -item[0])])


def markdown(title: str, summary: pd.DataFrame) -> str:
    """A title and a table."""
    lines = [f"*{title}*:", "", "| " + " | ".join(summary.columns) + " |", "|---" * len(summary.columns) + "|"]
    lines += ["| " + " | ".join(map(str, values)) + " |" for values in summary.itertuples(index=False)]
    return "\n".join(lines)


def tables(table: pd.DataFrame, baseline: str) -> str:
    """A table in markdown for each data set and condition, and one of them together."""
    parts = [
        markdown(f"{data}, {CONDITIONS[str(condition)]}", rows(group, baseline))
        for (data, condition), group in table.groupby(["data", "condition"])
    ]
    if len(summary := together(table, baseline)):
        parts.append(markdown(f"All together, arms with a training for each of the {baseline}'s", summary))
    return "\n\n".join(parts)


def write_into(page: Path, text: str) -> None:
    """Put the tables between the two markers of a page.

    Raises:
        SystemExit: It has no such markers.
    """
    parts = page.read_text(encoding="utf-8").split(MARKER)
    if len(parts) != 3:
        raise SystemExit(f"{page} does not have two lines {MARKER}.")
    page.write_text(f"{parts[0]}{MARKER}\n\n{text}\n\n{MARKER}{parts[2]}", encoding="utf-8")


def main() -> None:
    """Read, and print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--baseline", default="control")
    parser.add_argument("--into", type=Path, help="write the tables into this page, between its markers")
    given = parser.parse_args()
    text = tables(pd.read_csv(given.table), given.baseline)
    if given.into:
        write_into(given.into, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
