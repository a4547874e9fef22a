"""Each formula against one written anew in plain loops and float64, and against values noted once."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from heads import make_head, make_identity, smooth_head

from kdyolo.distill.registry import build, catalogue

CHANNELS, THEIRS = (4, 6, 8), (5, 7, 9)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def kl(p, r):
    return sum(a * math.log(a / b) for a, b in zip(p, r, strict=True))


class Numbers:
    """A head's output as float64 arrays."""

    def __init__(self, head, maps=None):
        self.scores = head.scores.detach().double().numpy()
        self.boxes = head.boxes.detach().double().numpy()
        self.maps = [m.detach().double().numpy() for m in (head.features if maps is None else maps)]
        self.anchors, self.strides = head.anchors.double().numpy(), head.strides.double().numpy()[:, 0]
        self.images, self.nc, self.locations = self.scores.shape
        self.reg_max = self.boxes.shape[1] // 4

    def bins(self, b, side, a):
        return self.boxes[b, side * self.reg_max : (side + 1) * self.reg_max, a]

    def box(self, b, a):
        left, top, right, bottom = (softmax(self.bins(b, i, a)) @ np.arange(self.reg_max) for i in range(4))
        (x, y), s = self.anchors[a], self.strides[a]
        return [(x - left) * s, (y - top) * s, (x + right) * s, (y + bottom) * s]


def places(numbers):
    return [(b, a) for b in range(numbers.images) for a in range(numbers.locations)]


def best(teacher, b, a):
    return max(sigmoid(teacher.scores[b, :, a]))


def count(teacher):
    return max(1.0, sum(best(teacher, b, a) for b, a in places(teacher)))


def bckd(s, t):
    total = 0.0
    for b, a in places(s):
        for c in range(s.nc):
            p, r = sigmoid(t.scores[b, c, a]), sigmoid(s.scores[b, c, a])
            total += abs(p - r) * -(p * math.log(r) + (1 - p) * math.log(1 - r))
    return 0.5 * total / count(t)


def ld(s, t):
    total = 0.0
    for b, a in places(s):
        sides = [kl(softmax(t.bins(b, i, a)), softmax(s.bins(b, i, a))) for i in range(4)]
        total += best(t, b, a) * sum(sides) / 4
    return 1.5 * total / count(t)


def ciou(a, b):
    eps = 1e-7
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(w, 0) * max(h, 0)
    wa, ha, wb, hb = a[2] - a[0], a[3] - a[1], b[2] - b[0], b[3] - b[1]
    iou = shared / (wa * ha + wb * hb - shared + eps)
    diagonal = (max(a[2], b[2]) - min(a[0], b[0])) ** 2 + (max(a[3], b[3]) - min(a[1], b[1])) ** 2
    centres = ((a[0] + a[2] - b[0] - b[2]) / 2) ** 2 + ((a[1] + a[3] - b[1] - b[3]) / 2) ** 2
    v = 4 / math.pi**2 * (math.atan(wa / ha) - math.atan(wb / hb)) ** 2
    return iou - centres / diagonal - v * v / (1 - iou + v + eps)


def box(s, t):
    total = 0.0
    for b, a in places(s):
        weight = max(abs(sigmoid(t.scores[b, :, a]) - sigmoid(s.scores[b, :, a])))
        total += weight * (1 - ciou(s.box(b, a), t.box(b, a)))
    return 7.5 * total / count(t)


def hinton(s, t):
    total = 0.0
    for b, a in places(s):
        total += best(t, b, a) * 4 * kl(softmax(t.scores[b, :, a] / 2), softmax(s.scores[b, :, a] / 2))
    return total / count(t)


def norm(x):
    """Each channel over images and cells."""
    mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-6)


def cwd(s, t):
    total = 0.0
    for z, y in zip(s.maps, t.maps, strict=True):
        z, y = norm(z), norm(y)
        for b in range(z.shape[0]):
            for c in range(z.shape[1]):
                total += kl(softmax(y[b, c].ravel()), softmax(z[b, c].ravel())) / (z.shape[0] * z.shape[1])
    return total


def pkd(s, t):
    total = 0.0
    for z, y in zip(s.maps, t.maps, strict=True):
        channels = range(z.shape[1])
        total += np.mean([1 - np.corrcoef(z[:, c].ravel(), y[:, c].ravel())[0, 1] for c in channels])
    return 2 * total


def fitnet(s, t):
    return 4 * sum(np.mean((z - y) ** 2) / 2 for z, y in zip(s.maps, t.maps, strict=True))


def native(s, t):
    total, first = 0.0, 0
    for z, y in zip(s.maps, t.maps, strict=True):
        above, below = 0.0, 1e-9
        for b in range(z.shape[0]):
            for a, gap in enumerate(((z[b] - y[b]) ** 2).mean(0).ravel()):
                q = best(t, b, first + a)
                above, below = above + q * gap, below + q
        total, first = total + above / below, first + z[0, 0].size
    return 6 * total


def at(s, t):
    total = 0.0
    for z, y in zip(s.maps, t.maps, strict=True):
        for b in range(len(z)):
            q, r = ((x[b] ** 2).mean(0).ravel() for x in (z, y))
            total += ((q / np.linalg.norm(q) - r / np.linalg.norm(r)) ** 2).sum() / len(z)
    return total


def sp(s, t):
    def similar(x):
        pooled = [[channel.mean() for channel in image] for image in x]
        rows = np.array([[np.dot(a, b) for b in pooled] for a in pooled])
        return np.array([row / np.linalg.norm(row) for row in rows])

    return 5 * sum(((similar(z) - similar(y)) ** 2).sum() / len(z) ** 2 for z, y in zip(s.maps, t.maps, strict=True))


def correlation(s, t):
    total = 0.0
    for z, y in zip(s.maps, t.maps, strict=True):
        ours, theirs = (np.corrcoef([x[:, c].ravel() for c in range(x.shape[1])]) for x in (z, y))
        total += ((ours - theirs) ** 2).mean()
    return 3 * total


def iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(w, 0) * max(h, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def instances(s, t):
    chosen = []
    for b in range(t.images):
        kept = []
        for a in sorted(range(t.locations), key=lambda a: -best(t, b, a))[:100]:
            cls = t.scores[b, :, a].argmax()
            rivals = [k for k, other in kept if other == cls]
            if best(t, b, a) > 0.1 and all(iou(t.box(b, a), t.box(b, k)) <= 0.5 for k in rivals):
                kept.append((a, cls))

        def gap(a, b=b):
            return max(abs(sigmoid(t.scores[b, :, a]) - sigmoid(s.scores[b, :, a])))

        chosen += sorted(((gap(a), b, a) for a, _ in kept), reverse=True)[:10]
    return [(b, a) for _, b, a in sorted(chosen, reverse=True)[:64]]


def huber(a, b):
    gap = abs(a - b)
    return gap**2 / 2 if gap < 1 else gap - 0.5


def rkd(s, t):
    distances, angles, first = [], [], 0
    chosen = instances(s, t)
    for z, y in zip(s.maps, t.maps, strict=True):
        cells = z.shape[2] * z.shape[3]
        here = [(b, a - first) for b, a in chosen if first <= a < first + cells]
        first += cells
        if len(here) < 2:
            continue
        told = []
        for x in (z, y):
            vectors = [x[b].reshape(x.shape[1], -1)[:, a] for b, a in here]
            vectors = [v / np.linalg.norm(v) for v in vectors]
            n = range(len(vectors))
            far = {(i, j): math.sqrt(sum((vectors[i] - vectors[j]) ** 2) + 1e-6) for i, j in permutations(n, 2)}
            units = {(i, j): (vectors[i] - vectors[j]) / far[i, j] for i, j in far}
            mean = sum(far.values()) / len(far)
            cosines = {(i, j, k): units[i, j] @ units[k, j] for i, j, k in permutations(n, 3)}
            told.append(({pair: d / mean for pair, d in far.items()}, cosines))
        (d_s, a_s), (d_t, a_t) = told
        distances += [huber(d_s[key], d_t[key]) for key in d_s]
        angles += [huber(a_s[key], a_t[key]) for key in a_s]
    return 2.5 * sum(distances) / max(len(distances), 1) + 5 * sum(angles) / max(len(angles), 1)


REFERENCES = (bckd, ld, box, hinton, cwd, pkd, fitnet, native, at, sp, correlation, rkd)


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("seed", [0, 5])
def test_agrees_with_the_reference(reference, seed):
    student, teacher = make_head(seed), make_head(seed + 1, channels=THEIRS)
    module = build(reference.__name__, CHANNELS, THEIRS, nc=3, reg_max=8, seed=seed)
    total, _ = module(student, teacher)
    adapters = module.methods[reference.__name__].adapters
    maps = [adapted(conv, x) for conv, x in zip(adapters, student.features, strict=True)] if len(adapters) else None
    numbers, theirs = Numbers(student, maps), Numbers(teacher)
    assert total.item() == pytest.approx(reference(numbers, theirs), rel=2e-5)


def test_every_formula_has_a_reference():
    formulas = {name for name, info in catalogue().items() if not info.parts}
    assert formulas == {reference.__name__ for reference in REFERENCES}


def adapted(adapter, x):
    if isinstance(adapter, torch.nn.Sequential):
        first, relu, last = adapter
        assert isinstance(relu, torch.nn.ReLU)
        return adapted(last, adapted(first, x).clamp(min=0))
    conv = adapter
    weight, bias = conv.weight.detach().double()[:, :, 0, 0], conv.bias.detach().double()
    return torch.einsum("oc,bchw->bohw", weight, x.double()) + bias[:, None, None]


GOLDEN = {
    "bckd": 0.6091998,
    "box": 2.913288,
    "hinton": 1.201105,
    "ld": 1.484508,
    "response": 2.093708,
    "at": 0.4490272,
    "cwd": 1.472003,
    "fitnet": 15.562,
    "native": 37.41779,
    "pkd": 3.72079,
    "correlation": 0.2029465,
    "rkd": 1.037299,
    "sp": 1.46972,
}


def test_every_method_has_a_golden_value():
    assert set(GOLDEN) == set(catalogue())


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_values(name):
    module = build(name, (3, 2), (3, 2), nc=2, reg_max=4)
    total, _ = make_identity(module)(smooth_head(0.0), smooth_head(1.0))
    assert total.item() == pytest.approx(GOLDEN[name], rel=1e-4)


def test_the_weighted_entropy_has_a_constant_weight():
    """The gradient of bckd is that of cross-entropy alone, times a number."""
    student, teacher = make_head(0, grad=True), make_head(1)
    build("bckd:1", CHANNELS, CHANNELS, nc=3, reg_max=8)(student, teacher)[0].backward()
    s, t = Numbers(student), Numbers(teacher)
    p, weights = sigmoid(t.scores), abs(sigmoid(t.scores) - sigmoid(s.scores))

    def loss(scores):
        r = sigmoid(scores)
        return (weights * -(p * np.log(r) + (1 - p) * np.log(1 - r))).sum() / count(t)

    for place in [(0, 0, 0), (1, 2, 10), (0, 1, 50), (1, 0, 33)]:
        step = np.zeros_like(s.scores)
        step[place] = 1e-5
        slope = (loss(s.scores + step) - loss(s.scores - step)) / 2e-5
        assert student.scores.grad[place].item() == pytest.approx(slope, rel=1e-4, abs=1e-9)
