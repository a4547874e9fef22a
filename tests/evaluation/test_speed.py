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
        return np.stack(images)

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


def starts(log, after=0):
    """What was timed; `after` skips each model's look at the sizes of the images."""
    return [entry for entry in log if entry[1] == "start"][after:]


def test_times_are_those_of_the_steps(clock, paths):
    log = []
    models = {
        "big": Fake(clock, log, "big", (0.001, 0.03, 0.004)),
        "small": Fake(clock, log, "small", (0.001, 0.005, 0)),
    }
    result = speed.measure(models, paths, timed=12, warmup=3)
    assert list(result) == ["big", "small"]
    assert result["big"]["inference"] == dict.fromkeys(("p50", "p90", "p95", "p99"), 30.0)
    assert result["big"]["nms"]["p95"] == 4.0
    assert (result["big"]["p50"], result["big"]["mean"]) == (35.0, 35.0)
    assert result["small"]["p95"] == 6.0
    assert {entry[1:] for entry in log if len(entry) == 3} == {(speed.TIMED_CONF, 0.7)}


def test_every_model_sees_the_same_images_one_at_a_time_in_turns(clock, paths):
    log, ticks = [], []
    models = {name: Fake(clock, log, name, (0, 1, 0)) for name in "abc"}
    speed.measure(models, paths, timed=9, warmup=12, tick=ticks.append)
    seen = starts(log, after=3 * len(paths))
    assert ticks == list(range(1, 22))
    assert {entry[2] for entry in seen} == {1}
    per_model = {name: [e[3] for e in seen if e[0] == name] for name in "abc"}
    assert per_model["a"] == per_model["b"] == per_model["c"]
    assert len(per_model["a"]) == 21
    assert {shape[0] for shape in per_model["a"]} == {40, 41, 42, 43, 44}
    orders = ["".join(e[0] for e in seen[i : i + 3]) for i in range(0, 63, 3)]
    assert set(orders) == {"abc", "bca", "cab"}
    assert {orders.count(order) for order in set(orders)} == {7}


class Warming(Fake):
    """A model whose first `cold` images take longer, the less the more it has seen."""

    def __init__(self, clock, log, name, cold):
        super().__init__(clock, log, name, (0, 0.01, 0))
        self.cold, self.seen = cold, 0

    def infer(self, batch):
        self.clock.now += 0.01 + max(0, self.cold - self.seen) * 0.01
        self.seen += 1
        return batch


def test_the_warm_up_lasts_until_all_models_are_stable(clock, paths):
    models = {"slow": Warming(clock, [], "slow", 15), "quick": Warming(clock, [], "quick", 0)}
    result = speed.measure(models, paths, timed=5, warmup=3)
    # five sizes are met first, then 10 more images are cold; the medians of two windows of five must agree
    assert result["slow"]["warmup"]["stable"]
    assert 15 <= result["slow"]["warmup"]["images"] <= 20
    assert result["slow"]["warmup"] == result["quick"]["warmup"]
    assert result["slow"]["mean"] == result["quick"]["mean"] == 10.0


def test_the_warm_up_of_a_model_that_never_settles_ends(clock, paths):
    class Jumping(Fake):
        def infer(self, batch):
            self.clock.now += 0.01 * (1 + len(starts(self.log)) // 5 % 2)
            return batch

    ticks = []
    models = {"a": Jumping(clock, [], "a", (0, 0, 0)), "b": Fake(clock, [], "b", (0, 0.01, 0))}
    result = speed.measure(models, paths[:1], timed=5, warmup=4, tick=ticks.append)
    assert result["a"]["warmup"] == {"images": speed.MOST_WARMUP * 2 * speed.WINDOW, "stable": False}
    assert result["b"]["warmup"]["stable"]
    assert ticks == list(range(1, 10))


def test_a_first_run_of_each_size_is_not_timed(clock, paths):
    class Compiling(Fake):
        known = ()

        def infer(self, batch):
            self.clock.now += 0.01 if batch.shape in self.known else 100
            self.known = (*self.known, batch.shape)
            return batch

    result = speed.measure({"a": Compiling(clock, [], "a", (0, 0, 0))}, paths, timed=5, warmup=1)
    assert result["a"]["mean"] == 10.0


def test_stable_is_no_change_of_the_median():
    assert not speed.is_stable([1.0] * 9)
    assert speed.is_stable([9.0] * 20 + [1.0] * 10)
    assert speed.is_stable([1.0, 1.0, 1.0, 50.0, 1.0] * 2)
    assert speed.is_stable([1.0] * 5 + [1.04] * 5)
    assert not speed.is_stable([1.0] * 5 + [1.06] * 5)
    assert not speed.is_stable([1.06] * 5 + [1.0] * 5)


def test_throughput_of_batches_of_one_size(clock, paths, tmp_path):
    log = []

    class PerBatch(Fake):
        def infer(self, batch):
            self.clock.now += 0.01 + 0.01 * len(batch)
            return batch

    twin = write_image(tmp_path / "twin.png", 9, (64, 42))
    images = speed.read_images([*paths, twin], 60)
    models = {name: PerBatch(clock, log, name, (0, 0, 0)) for name in "ab"}
    result = speed.sweep(models, images, [1, 4], timed=40)
    assert result["a"] == result["b"]
    assert result["a"][1] == {"images_per_second": 50.0, "batch_ms": 20.0}
    assert result["a"][4]["images_per_second"] == 80.0
    assert {(entry[2], entry[3]) for entry in starts(log)} == {(1, (42, 64, 3)), (4, (42, 64, 3))}
    assert len([e for e in starts(log) if e[0] == "a" and e[2] == 1]) == 42
    assert len([e for e in starts(log) if e[0] == "a" and e[2] == 4]) == 12


def test_energy_is_that_of_each_model(clock, paths):
    class Counter:
        def read(self):
            return [round(clock.now * 1e6)]

        def joules(self, before, after):
            return (after[0] - before[0]) / 1e6

    models = {"big": Fake(clock, [], "big", (0, 0.4, 0)), "small": Fake(clock, [], "small", (0, 0.1, 0))}
    result = speed.measure(models, paths, timed=10, warmup=1, meter=Counter())
    assert (result["big"]["energy_j"], result["small"]["energy_j"]) == (0.4, 0.1)
    assert "energy_j" not in speed.measure(models, paths, timed=10, warmup=1)["big"]


class Disturbed(Fake):
    """A model that takes the longer the busier the machine is, which changes from round to round."""

    def __init__(self, clock, log, busy, images):
        super().__init__(clock, log, "a", (0, 0.01, 0))
        self.busy, self.images = busy, images

    def infer(self, batch):
        self.clock.now += 0.01 * self.busy[(len(starts(self.log)) - 1) // self.images]
        return batch


@pytest.mark.parametrize(
    ("busy", "timed", "p50"),
    [
        ([1, 1, 1], 3, 10.0),
        ([1.5, 1, 1.02, 1.4, 1.01, 9], 5, 10.1),  # over as soon as three agree
        ([1, 2, 3, 4, 5, 6], 6, 20.0),  # they never do
    ],
)
def test_rounds_go_on_until_the_quietest_agree_and_only_those_are_reported(clock, paths, busy, timed, p50):
    ticks, model = [], Disturbed(clock, [], busy, len(paths))
    result = speed.measure({"a": model}, paths, timed=5, warmup=0, rounds=6, tick=ticks.append)["a"]
    assert (result["rounds"]["timed"], result["rounds"]["kept"], result["p50"]) == (timed, speed.KEPT, p50)
    assert (result["rounds"]["apart"] <= speed.TOLERANCE / 2) == (timed < 6)
    assert ticks == [*range(1, 5 * timed + 1), *([30] if timed < 6 else [])]


def test_of_two_rounds_both_count(clock, paths):
    model = Disturbed(clock, [], [1, 2], len(paths))
    result = speed.measure({"a": model}, paths, timed=5, warmup=0, rounds=2)["a"]
    assert (result["rounds"], result["mean"]) == ({"timed": 2, "kept": 2, "apart": 1.0}, 15.0)


def test_a_round_is_as_slow_as_all_its_models(clock):
    # the second model, ten times as slow as the first, counts no more than it
    kept, apart = speed.quietest(np.array([[1, 10], [2, 10], [1, 11], [1.1, 10.2], [4, 40]]))
    assert kept == [0, 2, 3]
    assert apart == pytest.approx((1.1 * 1.02) ** 0.5 - 1)


def test_decoding_files_is_not_timed_and_broken_ones_are_passed_over(clock, paths, monkeypatch):
    real = speed.read_image

    def slow(path):
        clock.now += 50
        return None if path == paths[1] else real(path)

    monkeypatch.setattr(speed, "read_image", slow)
    log = []
    result = speed.measure({"a": Fake(clock, log, "a", (0, 0.01, 0))}, paths, timed=8, warmup=1)
    assert result["a"]["p95"] == result["a"]["p99"] == 10.0
    assert 41 not in {e[3][0] for e in starts(log)}
    assert len(starts(log, after=4)) == 18


def test_the_device_is_waited_for_before_each_look_at_the_clock(clock, paths):
    log = []
    speed.measure({"a": Fake(clock, log, "a", (0, 0.01, 0))}, paths[:1], timed=1, warmup=0)
    assert log.count(("a", "synchronise")) == 4


def test_percentiles():
    rows = np.array([[0, i, 0] for i in range(1, 101)], dtype=float)
    summary = speed._summary(rows)
    assert (summary["p50"], summary["p95"], summary["mean"]) == (50.5, 95.05, 50.5)
