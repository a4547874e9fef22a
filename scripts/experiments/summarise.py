"""What the table of `run.py` says: mean, spread, and the paired difference from the control with a 95 % interval.

    python scripts/experiments/summarise.py runs/experiments/results.csv [--baseline "online native"]

One table for each data set and condition, in markdown, best validation first: what is chosen is chosen on validation,
and the test column only says what came of it. With several seeds the difference is paired by seed and its interval is
Student's t over the seeds; with one there is none.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

MEASURES = ("val_mAP50_95", "test_mAP50_95")


def difference(table: pd.DataFrame, arm: str, baseline: str, measure: str) -> str:
    """Arm minus baseline in points, paired by seed."""
    pairs = table[table.arm == arm].set_index("seed")[measure].to_frame("arm")
    pairs = pairs.join(table[table.arm == baseline].set_index("seed")[measure].rename("baseline"), how="inner")
    gap = 100 * (pairs["arm"] - pairs["baseline"])
    if len(gap) < 2:
        return f"{gap.mean():+.1f}" if len(gap) else "n/a"
    half = stats.t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / np.sqrt(len(gap))
    return f"{gap.mean():+.1f} [{gap.mean() - half:+.1f}, {gap.mean() + half:+.1f}]"


def rows(table: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """One row an arm, best on validation first."""
    found = []
    for arm, group in table.groupby("arm", sort=False):
        row = {"arm": arm, "seeds": len(group)}
        for measure in MEASURES:
            short = measure.removesuffix("_mAP50_95")
            spread = f" +- {100 * group[measure].std(ddof=1):.1f}" if len(group) > 1 else ""
            row[short] = f"{100 * group[measure].mean():.1f}{spread}"
            row[f"{short}, difference"] = difference(table, str(arm), baseline, measure)
        row["seconds"] = f"{group.train_seconds.mean():.0f}"
        row["order"] = -group["val_mAP50_95"].mean()
        found.append(row)
    return pd.DataFrame(found).sort_values("order", kind="stable").drop(columns="order")


def main() -> None:
    """Read and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--baseline", default="control")
    given = parser.parse_args()
    table = pd.read_csv(given.table)
    for (data, condition), group in table.groupby(["data", "condition"], sort=False):
        summary = rows(group, given.baseline)
        print(f"\n### {data}, {condition}\n")
        print("| " + " | ".join(summary.columns) + " |")
        print("|---" * len(summary.columns) + "|")
        for values in summary.itertuples(index=False):
            print("| " + " | ".join(map(str, values)) + " |")


if __name__ == "__main__":
    main()
