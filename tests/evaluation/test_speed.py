"""Latency: real images, one at a time, warm, the models taking turns."""

import time

import numpy as np
import pytest
from builders import write_image

from kdyolo.evaluation import speed


class Clock:
    """Stands for time.perf_counter; only what the fake models do takes time."""

    now = 0.0


class Fake:
    """A model that takes known times and remembers what it saw."""

    def __init__(self, clock, log, name, seconds):
        self.clock, self.log, self.name, self.seconds = clock, log, name, seconds

    def synchronise(self):
        self.log.append((self.name, "synchronise"))

    def preprocess(self, images):
        self.clock.now += self.seconds[0]
        self.log.append((self.name, "start", len(images), images[0].shape))
        return images

    def infer(self, batch):
        self.clock.now += self.seconds[1]
        return batch

    def postprocess(self, output, batch, images, conf, iou):
        self.clock.now += self.seconds[2]
        self.log.append((self.name, conf, iou))


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    return clock


@pytest.fixture
def paths(tmp_path):
    return [write_image(tmp_path / f"{i}.png", i, (64, 40 + i)) for i in range(5)]


def starts(log):
    return [entry for entry in log if entry[1] == "start"]


def test_times_are_those_of_the_steps(clock, paths):
    log = []
    models = {
        "big": Fake(clock, log, "big", (0.001, 0.03, 0.004)),
        "small": Fake(clock, log, "small", (0.001, 0.005, 0)),
    }
    result = speed.measure(models, paths, timed=12, warmup=3)
    assert list(result) == ["big", "small"]
    assert result["big"]["inference"] == {"p50": 30.0, "p95": 30.0}
    assert result["big"]["nms"] == {"p50": 4.0, "p95": 4.0}
    assert (result["big"]["p50"], result["big"]["mean"]) == (35.0, 35.0)
    assert result["small"]["p95"] == 6.0
    assert {entry[1:] for entry in log if len(entry) == 3} == {(speed.TIMED_CONF, 0.7)}


def test_every_model_sees_the_same_images_one_at_a_time_in_turns(clock, paths):
    log, ticks = [], []
    models = {name: Fake(clock, log, name, (0, 1, 0)) for name in "abc"}
    speed.measure(models, paths, timed=9, warmup=3, tick=ticks.append)
    seen = starts(log)
    assert ticks == list(range(1, 13))
    assert {entry[2] for entry in seen} == {1}
    per_model = {name: [e[3] for e in seen if e[0] == name] for name in "abc"}
    assert per_model["a"] == per_model["b"] == per_model["c"]
    assert len(per_model["a"]) == 12
    assert {shape[0] for shape in per_model["a"]} == {40, 41, 42, 43, 44}
    orders = ["".join(e[0] for e in seen[i : i + 3]) for i in range(0, 36, 3)]
    assert set(orders) == {"abc", "bca", "cab"}
    assert {orders.count(order) for order in set(orders)} == {4}


def test_the_warm_up_is_not_in_the_figures(clock, paths):
    class ColdStart(Fake):
        def infer(self, batch):
            self.clock.now += 100 if len(starts(self.log)) <= 4 else 0.01
            return batch

    result = speed.measure({"a": ColdStart(clock, [], "a", (0, 0, 0))}, paths, timed=5, warmup=4)
    assert result["a"]["mean"] == 10.0


def test_decoding_files_is_not_timed_and_broken_ones_are_passed_over(clock, paths, monkeypatch):
    real = speed.read_image

    def slow(path):
        clock.now += 50
        return None if path == paths[1] else real(path)

    monkeypatch.setattr(speed, "read_image", slow)
    log = []
    result = speed.measure({"a": Fake(clock, log, "a", (0, 0.01, 0))}, paths, timed=8, warmup=1)
    assert result["a"]["p95"] == 10.0
    assert 41 not in {e[3][0] for e in starts(log)}
    assert len(starts(log)) == 9


def test_the_device_is_waited_for_before_each_look_at_the_clock(clock, paths):
    log = []
    speed.measure({"a": Fake(clock, log, "a", (0, 0.01, 0))}, paths[:1], timed=1, warmup=0)
    assert log.count(("a", "synchronise")) == 4


def test_percentiles():
    rows = np.array([[0, i, 0] for i in range(1, 101)], dtype=float)
    summary = speed._summary(rows)
    assert (summary["p50"], summary["p95"], summary["mean"]) == (50.5, 95.05, 50.5)
