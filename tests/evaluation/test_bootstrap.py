"""The paired bootstrap: what must be exact, and how often its intervals hold the truth."""

import itertools
import json

import numpy as np
import pytest

from kdyolo.boxes import Detections, Truth
from kdyolo.evaluation.accuracy import evaluate
from kdyolo.evaluation.bootstrap import RARE_BOXES, bootstrap, keyed_matches
from kdyolo.evaluation.matching import ImageMatches
from kdyolo.evaluation.resampling import METRICS, average_precision, mean_ap

NAMES = ["leaf", "spot", "none"]


def scene(images=25):
    """Truth by image key: many leaves, a few spots, nothing of the third class."""
    rng = np.random.default_rng(5)
    truths = {}
    for i in range(images):
        n = 1 + i % 3
        corner = rng.uniform(0, 300, (n, 2))
        cls = np.array([0] * (n - 1) + [int(i % 4 == 0)])
        truths[f"test/{i}.jpg"] = Truth(np.hstack([corner, corner + rng.uniform(40, 90, (n, 2))]), cls, 400, 400)
    return truths


def detector(truths, seed, shift):
    """Finds every box `shift` pixels off on average, and something else in each image."""
    rng = np.random.default_rng(seed)
    found = {}
    for key, truth in truths.items():
        xyxy = np.vstack([truth.xyxy + rng.normal(0, shift, (len(truth.cls), 4)), [[0, 0, 50, 50]]])
        found[key] = Detections(xyxy, rng.uniform(0, 1, len(xyxy)), np.append(truth.cls, seed % 3))
    return found


TRUTHS = scene()
GOOD, FAIR, POOR = ([keyed_matches(TRUTHS, detector(TRUTHS, s, px), NAMES) for s in range(3)] for px in (3, 6, 9))


def synthetic(rng, images, skills):
    """One class, same images for each skill: boxes are found with that probability, hard images less often."""
    truths = rng.integers(0, 4, images)
    image, hard = np.repeat(np.arange(images), truths), rng.uniform(0, 0.4, images)
    luck = rng.random(len(image))
    arms = []
    for skill in skills:
        hit = 0.7 * luck + 0.3 * rng.random(len(image)) < skill - hard[image]
        noise = rng.integers(0, images, images)
        where, right = np.concatenate([image, noise]), np.append(hit, np.zeros(images, bool))
        score = rng.random(len(where)) + 0.5 * right
        order = np.argsort(-score)
        arms.append(ImageMatches(score[order], where[order], np.tile(right[order], (10, 1)), truths))
    return arms


def test_estimates_are_those_of_evaluate():
    seeds = [detector(TRUTHS, s, 5) for s in range(2)]
    got = bootstrap({"a": [keyed_matches(TRUTHS, d, NAMES) for d in seeds]}, NAMES, resamples=3)
    measured = [evaluate(TRUTHS, d, NAMES) for d in seeds]
    for metric in METRICS:
        assert got.estimates["a"][metric] == pytest.approx(np.mean([getattr(m, metric) for m in measured]), abs=1e-9)
        by_class = [[getattr(m.per_class[name], metric) for m in measured] for name in NAMES[:2]]
        assert got.class_estimates["a"][metric][:2] == pytest.approx(np.mean(by_class, axis=1), abs=1e-9)
        assert np.isnan(got.class_estimates["a"][metric][2])
    assert (got.images, got.seeds, got.boxes) == (25, 2, measured[0].boxes)


def test_identical_arms_do_not_differ_at_all():
    got = bootstrap({"a": GOOD, "b": list(GOOD)}, NAMES, resamples=50)
    for metric in METRICS:
        found = got.difference("a", "b", metric)
        assert (found.estimate, found.low, found.high, found.probability_positive) == (0, 0, 0, 0.5)
        share = got.ratio("a", "b", metric)
        assert (share.estimate, share.low, share.high, share.probability_positive) == (1, 1, 1, 0.5)


def test_a_clear_difference_is_seen_whichever_way_it_is_asked():
    got = bootstrap({"a": GOOD[:1], "b": POOR[:1]}, NAMES, resamples=200)
    up, down = got.difference("a", "b"), got.difference("b", "a")
    assert 0 < up.low < up.estimate < up.high
    assert (down.estimate, down.low, down.high) == pytest.approx((-up.estimate, -up.high, -up.low))
    assert up.probability_positive == 1 - down.probability_positive == 1
    share = got.ratio("b", "a")
    assert 0 < share.low < share.estimate < share.high < 1
    assert share.estimate == pytest.approx(got.estimates["b"]["mAP50_95"] / got.estimates["a"]["mAP50_95"])


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_the_ends_are_percentiles(level):
    got = bootstrap({"a": GOOD[:1], "b": FAIR[:1]}, NAMES, resamples=101, level=level)
    found, differences = got.difference("a", "b"), got.samples["a"]["mAP50_95"] - got.samples["b"]["mAP50_95"]
    assert np.sum(differences < found.low) == np.sum(differences > found.high) == round(101 * (1 - level) / 2)
    assert found.probability_positive == np.mean(differences > 0)


def test_the_same_seed_gives_the_same_interval_whatever_the_order_of_the_arms():
    one, two = (
        bootstrap({"a": GOOD, "b": FAIR}, NAMES, resamples=60),
        bootstrap({"b": FAIR, "a": GOOD}, NAMES, resamples=60),
    )
    assert one.difference("a", "b") == two.difference("a", "b")
    assert one.difference("a", "b") != bootstrap({"a": GOOD, "b": FAIR}, NAMES, resamples=60, seed=1).difference(
        "a", "b"
    )


def test_the_order_of_images_is_irrelevant():
    found = detector(TRUTHS, 1, 5)
    keys = sorted(TRUTHS, key=lambda key: key[::-1])
    assert keys != list(TRUTHS)
    shuffled = keyed_matches({k: TRUTHS[k] for k in keys}, {k: found[k] for k in reversed(keys)}, NAMES)
    one = bootstrap({"a": [keyed_matches(TRUTHS, found, NAMES)], "b": FAIR[:1]}, NAMES, resamples=40)
    two = bootstrap({"a": [shuffled], "b": FAIR[:1]}, NAMES, resamples=40)
    assert one.difference("a", "b") == two.difference("a", "b")


def test_arms_share_draws_that_have_the_chances_of_a_bootstrap():
    """Two arms with one hit each, on different images: their figures tell how often each image was drawn."""
    hit, truths = np.ones((10, 1), bool), np.array([1, 2, 1, 1])
    arms = [ImageMatches(np.array([0.5]), np.array([image]), hit, truths) for image in range(2)]
    got = bootstrap({"a": [[arms[0]]], "b": [[arms[1]]]}, ["leaf"], resamples=4000)
    chances = {}
    for drawn in itertools.product(range(4), repeat=4):
        weights = np.bincount(drawn, minlength=4)[None]
        figures = tuple(round(float(average_precision(m, weights)[0, 0]), 9) for m in arms)
        chances[figures] = chances.get(figures, 0) + 1 / 4**4
    samples = list(zip(*(np.round(got.samples[arm]["mAP50"], 9).tolist() for arm in "ab"), strict=True))
    assert set(samples) <= set(chances)
    for figures, chance in chances.items():
        assert samples.count(figures) / 4000 == pytest.approx(chance, abs=0.03)


def test_an_arm_of_one_training_stands_beside_every_seed():
    teacher = GOOD[0]
    one = bootstrap({"t": [teacher], "s": POOR}, NAMES, resamples=50)
    three = bootstrap({"t": [teacher] * 3, "s": POOR}, NAMES, resamples=50)
    np.testing.assert_allclose(one.samples["t"]["mAP50_95"], three.samples["t"]["mAP50_95"])
    assert vars(one.difference("t", "s")) == pytest.approx(vars(three.difference("t", "s")))
    assert one.seeds == three.seeds == 3


def test_the_spread_of_trainings_is_neither_lost_nor_halved():
    """One image, so that only seeds vary: the variance of their mean is the sample variance over S."""
    trainings = []
    for boxes_found in (1, 4, 9):
        hit = np.ones((10, boxes_found), bool)
        score, image = np.linspace(1, 0.5, boxes_found), np.zeros(boxes_found, int)
        trainings.append([ImageMatches(score, image, hit, np.array([10]))])
    for some in (trainings, trainings[:2]):
        values = [average_precision(training[0], np.array([[1]]))[0, 0] for training in some]
        got = bootstrap({"a": some}, ["leaf"], resamples=4000)
        assert got.estimates["a"]["mAP50"] == pytest.approx(np.mean(values))
        expected = np.var(values, ddof=1) / len(some)
        assert got.samples["a"]["mAP50"].var() == pytest.approx(expected, rel=0.1)


def test_the_same_seeds_are_drawn_for_every_arm():
    """The same trainings in another order differ from themselves, though not on average."""
    got = bootstrap({"a": POOR, "b": list(POOR)}, NAMES, resamples=40)
    mixed = bootstrap({"a": POOR, "b": POOR[::-1]}, NAMES, resamples=40)
    assert np.ptp(got.samples["a"]["mAP50_95"] - got.samples["b"]["mAP50_95"]) == 0
    assert np.ptp(mixed.samples["a"]["mAP50_95"] - mixed.samples["b"]["mAP50_95"]) > 0
    assert mixed.difference("a", "b").estimate == pytest.approx(0)


def test_rare_classes_are_flagged_and_still_measured():
    got = bootstrap({"a": GOOD[:1], "b": POOR[:1]}, NAMES, resamples=100)
    assert got.boxes["spot"] < RARE_BOXES <= got.boxes["leaf"]
    assert got.rare_classes == ["spot", "none"]
    by_class = got.class_differences("a", "b")
    assert list(by_class) == NAMES
    assert by_class["none"] is None
    assert by_class["spot"].high > by_class["spot"].low
    assert np.isnan(got.class_samples["a"]["mAP50_95"][2]).all()


def test_a_class_missing_from_a_resample_is_left_out_of_its_mean():
    """One image of two holds the spot: half of the draws of two images would otherwise count as no spot found."""
    truths = {k: TRUTHS[k] for k in ("test/0.jpg", "test/1.jpg")}
    exact = {k: Detections(t.xyxy, np.linspace(0.9, 0.8, len(t.cls)), t.cls) for k, t in truths.items()}
    got = bootstrap({"a": [keyed_matches(truths, exact, NAMES)]}, NAMES, resamples=50)
    assert np.isnan(got.class_samples["a"]["mAP50"][1]).any()
    np.testing.assert_allclose(got.samples["a"]["mAP50"], 1.0)
    assert got.class_differences("a", "a")["spot"].high == 0


def test_nothing_to_find_is_none_not_zero():
    truths = {"a.jpg": Truth(np.zeros((0, 4)), np.zeros(0, int), 9, 9)}
    none = keyed_matches(truths, {"a.jpg": Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))}, NAMES)
    got = bootstrap({"a": [none], "b": [none]}, NAMES, resamples=5)
    assert got.difference("a", "b") is None
    assert got.ratio("a", "b") is None
    data = got.to_json([("a", "b")])
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["arms"]["a"]["mAP50"] is None
    assert data["pairs"][0]["difference"] == dict.fromkeys(METRICS)


def test_a_teacher_that_finds_nothing_has_no_share_to_keep():
    blind = [m._replace(hit=np.zeros_like(m.hit)) for m in GOOD[0]]
    got = bootstrap({"s": GOOD[:1], "t": [blind]}, NAMES, resamples=20)
    assert got.ratio("s", "t") is None
    assert got.ratio("t", "s").high == 0


def test_plain_data():
    got = bootstrap({"a": GOOD, "b": FAIR}, NAMES, resamples=30, level=0.9)
    data = got.to_json([("a", "b")])
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert (data["images"], data["seeds"], data["resamples"], data["level"]) == (25, 3, 30, 0.9)
    (pair,) = data["pairs"]
    assert pair["difference"]["mAP50_95"] == got.difference("a", "b").to_json()
    assert pair["ratio"]["mAP75"]["estimate"] == got.ratio("a", "b", "mAP75").estimate
    assert [c["class"] for c in pair["per_class"]] == NAMES


def test_intervals_hold_the_true_difference():
    rng, skills = np.random.default_rng(3), (0.85, 0.75)
    better, worse = (mean_ap([average_precision(m, np.ones((1, 40_000), int))]) for m in synthetic(rng, 40_000, skills))
    true = float(better["mAP50"][0] - worse["mAP50"][0])
    assert true > 0.05
    covered = 0
    for repetition in range(200):
        a, b = synthetic(rng, 50, skills)
        found = bootstrap({"a": [[a]], "b": [[b]]}, ["leaf"], resamples=200, seed=repetition).difference(
            "a", "b", "mAP50"
        )
        covered += found.low <= true <= found.high
    assert 0.88 <= covered / 200 <= 0.99, covered


def empty(images=2):
    return ImageMatches(np.zeros(0), np.zeros(0, int), np.zeros((10, 0), bool), np.ones(images, int))


@pytest.mark.parametrize(
    ("arms", "options", "words"),
    [
        ({}, {}, "needs a training"),
        ({"a": []}, {}, "needs a training"),
        ({"a": [[empty(), empty()]]}, {}, "each class"),
        ({"a": [[empty()]] * 2, "b": [[empty()]] * 3}, {}, r"\[2, 3\] trainings"),
        ({"a": [[empty()]], "b": []}, {}, r"\[0, 1\] trainings"),
        ({"a": [[empty()]], "b": [[empty(3)]]}, {}, "same truth"),
        ({"a": [[empty(0)]]}, {}, "no images"),
        ({"a": [[empty()]]}, {"resamples": 0}, "out of range"),
        ({"a": [[empty()]]}, {"level": 1.0}, "out of range"),
    ],
)
def test_nonsense_is_refused(arms, options, words):
    with pytest.raises(ValueError, match=words):
        bootstrap(arms, ["leaf"], **options)


def test_other_images_are_refused():
    with pytest.raises(ValueError, match="same images"):
        keyed_matches(TRUTHS, {}, NAMES)
