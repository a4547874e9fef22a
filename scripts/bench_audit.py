"""How long `kdyolo audit` takes for 10 000, 30 000 and 100 000 images, in memory and when it is run again.

    python scripts/bench_audit.py --sizes 10000,30000,100000 [--folder DIR] [--keep]

Draws JPEG images of 640 x 480 px with five boxes each, a hundredth of them exact or brightened copies of another (about
5 GB for 100 000), and audits them by the command line, with a cache of its own: first with nothing known, then again
unchanged, then with one label changed, and once killed half-way and started again. The search for near copies is timed
by itself on the signatures that were kept. Prints a markdown table; the last column of the growth is the exponent e in
time ~ images^e between two sizes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import psutil

from kdyolo.datasets.duplicates import find_pairs

WIDTH, HEIGHT, BOXES, CLASSES = 640, 480, 5, 3
TEXTURES = 64
COPIES = ("identical_image", "near_duplicate")


def draw(folder: Path, count: int, seed: int = 0) -> None:
    """Write `count` images with labels, in all threads; those that are there already stay."""
    rng = np.random.default_rng(seed)
    noise = [rng.integers(0, 256, (HEIGHT // k, WIDTH // k, 3), dtype=np.uint8) for k in (4, 8) for _ in range(32)]
    textures = [cv2.resize(image, (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_CUBIC) for image in noise]
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "data.yaml").write_text("train: images\nnames: [a, b, c]\n")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda number: _draw_one(folder, number, textures, seed), range(count), chunksize=64):
            pass


def _draw_one(folder: Path, number: int, textures: list[np.ndarray], seed: int) -> None:
    image, label = folder / "images" / f"{number:06d}.jpg", folder / "labels" / f"{number:06d}.txt"
    if label.exists():
        return
    copied = number - 1 if number % 100 == 99 else number
    rng = np.random.default_rng((seed, copied))
    y, x, v, u = (int(rng.integers(0, most)) for most in (HEIGHT, WIDTH, HEIGHT, WIDTH))
    first, second = textures[int(rng.integers(TEXTURES))], textures[int(rng.integers(TEXTURES))]
    light = cv2.resize(rng.integers(0, 120, (6, 8, 3), dtype=np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    picture = cv2.addWeighted(first[y : y + HEIGHT, x : x + WIDTH], 0.3, second[v : v + HEIGHT, u : u + WIDTH], 0.25, 0)
    picture = cv2.add(picture, light)
    if number % 200 == 199:
        picture = cv2.convertScaleAbs(picture, alpha=1.1)
    cv2.imwrite(str(image), picture, [cv2.IMWRITE_JPEG_QUALITY, 80])
    boxes = np.column_stack([rng.uniform(0.3, 0.7, (BOXES, 2)), rng.uniform(0.05, 0.3, (BOXES, 2))])
    rows = zip(rng.integers(0, CLASSES, BOXES).tolist(), boxes.tolist(), strict=True)
    label.write_text("".join(f"{c} {cx:.6f} {cy:.6f} {w:.6f} {h:.6f}\n" for c, (cx, cy, w, h) in rows))


def audit(folder: Path, cache: Path, stop_after: float | None = None) -> tuple[float, float, int]:
    """Seconds and peak memory (MB, child processes included) of one audit, and the near copies it found."""
    command = [sys.executable, "-m", "kdyolo", "audit", str(folder), "--json"]
    with tempfile.TemporaryFile() as output:
        started, peak = time.perf_counter(), 0.0
        environment = {**os.environ, "KDYOLO_CACHE": str(cache)}
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL, env=environment)
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                family = [watched, *watched.children(recursive=True)]
                peak = max(peak, sum(member.memory_info().rss for member in family) / 1e6)
            except psutil.Error:
                pass
            if stop_after is not None and time.perf_counter() - started > stop_after:
                process.kill()
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        output.seek(0)
        text = output.read()
    findings = json.loads(text)["findings"] if text else []
    return seconds, peak, sum(f["count"] for f in findings if f["code"] in COPIES)


def near_search(cache: Path) -> tuple[int, float]:
    """Images and seconds of the search for near copies alone."""
    with sqlite3.connect(cache / "checks.sqlite") as database:
        rows = database.execute("SELECT signature FROM checks ORDER BY key").fetchall()
    signatures = [row[0] for row in rows]
    started = time.perf_counter()
    find_pairs(signatures)
    return len(signatures), time.perf_counter() - started


def measure(folder: Path, count: int) -> dict[str, float]:
    """All figures of one size."""
    cache = folder.with_name(f"{folder.name}-cache")
    shutil.rmtree(cache, ignore_errors=True)
    first, memory, found = audit(folder, cache)
    again, memory_again, found_again = audit(folder, cache)
    assert found == found_again
    label = folder / "labels" / "000000.txt"
    label.write_text(label.read_text())
    os.utime(label, (time.time() - 3600, time.time() - 3600 - count))
    changed, _, _ = audit(folder, cache)
    _, search = near_search(cache)
    shutil.rmtree(cache)
    audit(folder, cache, stop_after=first / 2)
    resumed, _, found_resumed = audit(folder, cache)
    assert found == found_resumed
    shutil.rmtree(cache)
    return {
        "images": count,
        "first (s)": first,
        "images/s": count / first,
        "memory (MB)": max(memory, memory_again),
        "again (s)": again,
        "faster": first / again,
        "one label changed (s)": changed,
        "killed at half, then (s)": resumed,
        "near copies alone (s)": search,
        "copies found": found,
    }


def main() -> None:
    """Draw, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,30000,100000")
    parser.add_argument("--folder", type=Path, help="where to draw; a temporary folder if left out")
    parser.add_argument("--keep", action="store_true", help="leave the images there")
    arguments = parser.parse_args()
    base = arguments.folder or Path(tempfile.mkdtemp(prefix="kdyolo-audit-"))
    rows: list[dict[str, float]] = []
    for count in sorted(int(size) for size in arguments.sizes.split(",")):
        folder = base / f"images-{count}"
        draw(folder, count)
        rows.append(measure(folder, count))
        before = rows[-2] if len(rows) > 1 else None
        growth = math.log(rows[-1]["images"] / before["images"]) if before else 1.0
        for name in ("first (s)", "near copies alone (s)"):
            rows[-1][f"growth of {name}"] = math.log(rows[-1][name] / before[name]) / growth if before else math.nan
        if len(rows) == 1:
            print("| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
        print(
            "| " + " | ".join(f"{value:,.6g}" if value > 999 else f"{value:.3g}" for value in rows[-1].values()) + " |"
        )
        sys.stdout.flush()
        if not arguments.keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
