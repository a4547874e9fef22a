"""Images made from a detector alone: the losses fall, the teacher sees what it was asked to, and nothing is redone."""

import contextlib
import dataclasses
import json
import random
import shutil

import cv2
import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdyolo.boxes import iou_matrix, xywh_to_xyxy
from kdyolo.config import RuntimeSettings
from kdyolo.distill import synthesis
from kdyolo.distill.synthesis import TERMS, Recipe, synthesise
from kdyolo.distill.targets import sample_targets
from kdyolo.engine import checkpoints, environment
from kdyolo.engine.detector import Detector
from kdyolo.errors import ConfigError, StageError
from kdyolo.progress import Silent
from kdyolo.storage import sha256_file

RUNTIME = RuntimeSettings(device="cpu", precision="fp32", threads=1)
COLOURS = {"red": (0.9, 0.2, 0.2), "green": (0.2, 0.9, 0.2), "blue": (0.2, 0.2, 0.9)}
SHORT = Recipe(images=3, imgsz=64, steps=2, batch=2)


def make(checkpoint, folder, recipe=SHORT, progress=None):
    return synthesise(checkpoint, recipe, RUNTIME, folder, progress or Silent())


def shown(folder):
    return {name: data for name, data in tiny.files(folder).items() if name.endswith(".png")}


@pytest.fixture(scope="module")
def shallow(tmp_path_factory):
    """A detector that has learnt something in seconds: five convolutions, taught rectangles of three colours.

    `tiny.lively_checkpoint` serves wherever nothing need be seen; through its 57 random layers no image descends.
    """
    images, rng = 32, np.random.default_rng(0)
    targets = sample_targets(images, len(COLOURS), seed=7)
    drawn = rng.normal(0.5, 0.05, (images, 3, 64, 64))
    corners = (xywh_to_xyxy(targets.xywhn) * 64).round().astype(int)
    for image, cls, (x1, y1, x2, y2) in zip(targets.image, targets.cls, corners, strict=True):
        drawn[image, :, y1:y2, x1:x2] = np.array(list(COLOURS.values())[cls])[:, None, None]
    model = taught(torch.from_numpy(drawn.clip(0, 1)).float(), targets, rng)
    model.names, model.args = dict(enumerate(COLOURS)), {"task": "detect", "imgsz": 64}
    path = tmp_path_factory.mktemp("shallow") / "shallow.pt"
    torch.save({"epoch": -1, "model": model.half(), "ema": None, "optimizer": None, "train_args": model.args}, path)
    return path


def taught(images, targets, rng, steps=140, batch=8):
    environment.harden()
    from ultralytics.nn.tasks import DetectionModel
    from ultralytics.utils import DEFAULT_CFG_DICT, IterableSimpleNamespace

    from kdyolo.engine.precision import Fp32DetectionLoss

    layers = [[-1, 1, "Conv", [width, 3, 2]] for width in (16, 32, 32, 64, 64)]
    described = {"nc": len(COLOURS), "backbone": layers, "head": [[[2, 3, 4], 1, "Detect", ["nc"]]]}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = DetectionModel(described, nc=len(COLOURS), verbose=False).train()
    model.args = IterableSimpleNamespace(**DEFAULT_CFG_DICT)
    criterion, optimizer = Fp32DetectionLoss(model), torch.optim.AdamW(model.parameters(), 0.005)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.005 * (1 - step / steps)
        own = rng.choice(len(images), batch, replace=False)
        kept = np.concatenate([np.flatnonzero(targets.image == image) for image in own])
        which = np.searchsorted(np.sort(own), targets.image[kept])
        labels = {"batch_idx": np.argsort(own)[which], "cls": targets.cls[kept], "bboxes": targets.xywhn[kept]}
        loss = criterion(model(images[own]), {k: torch.from_numpy(v).float() for k, v in labels.items()})[0].sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def long(tmp_path_factory, shallow):
    """A synthesis long enough to show something, and its recipe."""
    recipe = Recipe(images=4, imgsz=64, steps=120, batch=4, w_tv=30.0)
    return make(shallow, tmp_path_factory.mktemp("long") / "images", recipe), recipe


def start(recipe):
    """The very noise a synthesis of one batch starts from, as images (B, H, W, 3) BGR."""
    rng = np.random.default_rng((recipe.seed, 1, 0))
    noise = rng.normal(0.5, 0.2, (recipe.images, 3, recipe.imgsz, recipe.imgsz)).clip(0, 1)
    return (noise.transpose(0, 2, 3, 1)[..., ::-1] * 255).round().astype(np.uint8)


def pixels_of(images):
    stack = np.stack(images)[..., ::-1].transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(stack)).float() / 255


def naive_batch_norm_distance(checkpoint, images):
    """Of finished images: one norm at a time, in float64, through hooks of the test's own."""
    model, _ = checkpoints.load(checkpoint)
    seen = []
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_hook(lambda norm, inputs, _: seen.append((norm, inputs[0].double().numpy())))
    with torch.no_grad():
        model(pixels_of(images))
    total = 0.0
    for norm, x in seen:
        per_channel = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
        total += np.sqrt(((per_channel.mean(1) - norm.running_mean.numpy()) ** 2).sum())
        total += np.sqrt(((per_channel.var(1) - norm.running_var.numpy()) ** 2).sum())
    return total


def targets_found(checkpoint, recipe, images):
    """Sampled boxes that the teacher sees: same class, IoU of at least 0.5, score above 0.25."""
    detector, targets = (
        Detector(checkpoint, recipe.imgsz, RUNTIME),
        sample_targets(recipe.images, len(COLOURS), recipe.seed),
    )
    batch = detector.preprocess(images)
    found = detector.postprocess(detector.infer(batch), batch, images, 0.25, 0.7, multi_label=True)
    hits = 0
    for image, cls, xywhn in zip(targets.image, targets.cls, targets.xywhn, strict=True):
        seen = found[image].xyxy[found[image].cls == cls]
        hits += iou_matrix(xywh_to_xyxy(xywhn[None]) * recipe.imgsz, seen).max(initial=0.0) >= 0.5
    return hits


def test_total_loss_and_detection_loss_fall(long):
    done, _ = long
    assert tuple(done.first) == tuple(done.last) == TERMS
    assert sum(done.last.values()) < 0.7 * sum(done.first.values())
    assert done.last["detection"] < done.first["detection"]
    assert done.last["bn"] < done.first["bn"]
    assert done.seconds > 0


def test_statistics_come_closer_to_the_teachers_than_those_of_noise(long, shallow):
    done, recipe = long
    made = [cv2.imread(str(path)) for path in done.images]
    noise, result = (naive_batch_norm_distance(shallow, images) for images in (start(recipe), made))
    assert result < 0.5 * noise
    # What the synthesis says of itself is what the naive sum says of its first images (jitter aside).
    assert done.first["bn"] == pytest.approx(recipe.w_bn * noise, rel=0.05)


def test_the_teacher_finds_the_targets_and_not_in_noise(long, shallow):
    done, recipe = long
    made = [cv2.imread(str(path)) for path in done.images]
    before, after = (targets_found(shallow, recipe, images) for images in (list(start(recipe)), made))
    assert after > before
    assert after >= len(sample_targets(recipe.images, len(COLOURS), recipe.seed).cls) / 2


def test_files_are_png_of_the_asked_size_and_the_record_says_whose(tmp_path, lively):
    before = sha256_file(lively)
    done = make(lively, tmp_path / "out")
    assert [path.name for path in done.images] == [f"synthetic-{i:05d}.png" for i in range(3)]
    assert {cv2.imread(str(path)).shape for path in done.images} == {(64, 64, 3)}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["synthesis.json", *(p.name for p in done.images)]
    record = json.loads((tmp_path / "out" / "synthesis.json").read_text())
    assert record["teacher_sha256"] == before == sha256_file(lively)
    assert record["recipe"] == dataclasses.asdict(SHORT)
    assert record["versions"]["torch"] == torch.__version__.partition("+")[0]


def test_same_seed_same_bytes_and_another_seed_others(tmp_path, lively):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make(lively, tmp_path / name, dataclasses.replace(SHORT, seed=seed))
    assert shown(tmp_path / "a") == shown(tmp_path / "b")
    assert not set(shown(tmp_path / "a").values()) & set(shown(tmp_path / "c").values())


def test_global_random_states_are_left_alone_and_play_no_part(tmp_path, lively):
    make(lively, tmp_path / "a")
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    make(lively, tmp_path / "b")
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])
    assert states[2] == random.getstate()
    assert shown(tmp_path / "a") == shown(tmp_path / "b")


class Stop(Exception):
    pass


def _stop(*_):
    raise Stop


def test_a_stopped_synthesis_goes_on_where_it_stopped(tmp_path, lively):
    whole, halted = tmp_path / "whole", tmp_path / "halted"
    complete = make(lively, whole)
    notes = tiny.Notes()

    def stop_in_the_second_batch():
        if notes.updates == 3:
            raise Stop

    notes.on_update = stop_in_the_second_batch
    with pytest.raises(Stop):
        make(lively, halted, progress=notes)
    assert list(shown(halted)) == ["synthetic-00000.png", "synthetic-00001.png"]
    kept = {name: time for name, time in tiny.mtimes(halted).items() if name.endswith(".png")}
    again = tiny.Notes()
    resumed = make(lively, halted, progress=again)
    assert again.updates == SHORT.steps  # of the one batch that was missing
    assert kept.items() <= tiny.mtimes(halted).items()
    assert shown(halted) == shown(whole)
    assert (resumed.first, resumed.last) == (complete.first, complete.last)


def test_a_lost_image_comes_back_and_its_neighbour_is_not_written(tmp_path, lively):
    done = make(lively, tmp_path / "out")
    before, times = shown(tmp_path / "out"), tiny.mtimes(tmp_path / "out")
    done.images[1].unlink()
    notes = tiny.Notes()
    make(lively, tmp_path / "out", progress=notes)
    assert shown(tmp_path / "out") == before
    changed = {name for name, time in tiny.mtimes(tmp_path / "out").items() if time != times[name]}
    assert changed == {"synthetic-00001.png", "synthesis.json"}
    make(lively, tmp_path / "out", progress=notes)
    assert notes.updates == SHORT.steps


@pytest.mark.parametrize("foreign", ["recipe", "teacher", "photos", "damaged", "list", "file"])
def test_a_folder_of_other_work_is_refused_and_left_as_it_is(tmp_path, lively, foreign):
    folder, recipe, teacher = tmp_path / "out", SHORT, lively
    told = {"recipe": "another recipe", "teacher": "another teacher", "photos": "something else", "file": "else"}
    if foreign == "file":
        folder.write_text("mine")
    elif foreign == "photos":
        folder.mkdir()
        (folder / "synthetic-00000.png").write_bytes(b"mine")
    else:
        make(lively, folder)
    if foreign == "recipe":
        recipe = dataclasses.replace(SHORT, w_tv=0.5)
    elif foreign == "teacher":
        teacher = shutil.copy(lively, tmp_path / "other.pt")
        with teacher.open("ab") as file:
            file.write(b"\0")
    elif foreign in ("damaged", "list"):
        (folder / "synthesis.json").write_text("{" if foreign == "damaged" else "[]")
    before = tiny.files(tmp_path)
    with pytest.raises(ConfigError, match=told.get(foreign, "cannot be read")) as caught:
        make(teacher, folder, recipe)
    assert "another folder" in caught.value.hint
    assert tiny.files(tmp_path) == before


@pytest.mark.parametrize("fails", [False, True])
def test_hooks_are_removed_and_the_teacher_does_not_learn(tmp_path, lively, monkeypatch, fails):
    loaded, load = [], checkpoints.load
    monkeypatch.setattr(checkpoints, "load", lambda path: loaded.append(load(path)) or loaded[-1])
    if fails:
        monkeypatch.setattr(synthesis, "batch_norm_distance", _stop)
    with pytest.raises(Stop) if fails else contextlib.nullcontext():
        make(lively, tmp_path / "out")
    ((model, _),) = loaded
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    fresh = load(lively)[0].state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_teacher_that_computes_nonsense_is_named_and_leaves_no_image(tmp_path, lively):
    checkpoint = torch.load(lively, weights_only=False)
    next(iter(checkpoint["model"].parameters())).data.fill_(float("nan"))
    torch.save(checkpoint, tmp_path / "nan.pt")
    with pytest.raises(StageError, match="not finite at step 0"):
        make(tmp_path / "nan.pt", tmp_path / "out")
    assert not shown(tmp_path / "out")


def test_a_teacher_without_batch_normalisation_needs_a_weight_of_zero(tmp_path, lively):
    checkpoint = torch.load(lively, weights_only=False)
    checkpoint["model"] = checkpoint["model"].float().fuse(verbose=False)
    torch.save(checkpoint, tmp_path / "fused.pt")
    with pytest.raises(ConfigError, match="no batch normalisation"):
        make(tmp_path / "fused.pt", tmp_path / "out")
    done = make(tmp_path / "fused.pt", tmp_path / "out", dataclasses.replace(SHORT, w_bn=0.0))
    assert done.first["bn"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": 0},
        {"imgsz": 100},
        {"imgsz": 0},
        {"steps": 0},
        {"batch": 0},
        {"seed": -1},
        {"w_bn": -1.0},
        {"w_tv": float("nan")},
        {"lr": 0.0},
        {"lr": float("inf")},
    ],
)
def test_recipes_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigError):
        Recipe(**{"images": 1, **wrong})


@given(st.integers(0, 2**32))
def test_jitter_moves_boxes_with_what_is_in_them(seed):
    rng = np.random.default_rng(seed)
    targets = sample_targets(1, 1, seed)
    pixels = torch.zeros(1, 3, 320, 320)
    x1, y1, x2, y2 = (xywh_to_xyxy(targets.xywhn)[0] * 320).round().astype(int)
    pixels[:, :, y1:y2, x1:x2] = 1
    shown, xywhn = synthesis._jitter(pixels, targets, rng)
    ys, xs = np.nonzero(shown[0, 0].numpy())
    drawn = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    assert np.abs(drawn - xywh_to_xyxy(xywhn)[0] * 320).max() <= 1


def test_total_variation_is_that_of_a_loop():
    pixels = torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    x = pixels.numpy()
    down = [(x[..., i + 1, j] - x[..., i, j]) ** 2 for i in range(4) for j in range(6)]
    right = [(x[..., i, j + 1] - x[..., i, j]) ** 2 for i in range(5) for j in range(5)]
    assert float(synthesis.total_variation(pixels)) == pytest.approx(np.mean(down) + np.mean(right), rel=1e-5)
