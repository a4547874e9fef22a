"""Settings of a run: pydantic models, a YAML file and `-S key=value` over them, and a stable hash of any part."""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from kdyolo.errors import ConfigError
from kdyolo.gates import Gate
from kdyolo.language import Lang
from kdyolo.yamlio import load_mapping, parse_yaml

MODELS = ("yolov5n", "yolov5s", "yolov5m", "yolov5l", "yolov5x")
_STRIDE = 32  # of the coarsest feature map
Fraction = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class Settings(BaseModel):
    """Base of all sections: unknown keys are errors, values are checked on assignment."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads ``no`` as false, and false would pass for 0."""
        kind = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and {int, float} & {kind, *get_args(kind)}:
            raise ValueError("must be a number")
        return value


class DataSettings(Settings):
    """Where the images are."""

    source: Path | None = Field(None, description="folder or data.yaml of the labelled data set")
    format: Literal["auto", "yolo", "voc", "coco", "csv", "label-studio", "cvat"] = Field(
        "auto", description="how the labels are written"
    )
    allow_outside: bool = Field(False, description="accept links and paths that lead out of the data set's folder")


class AuditSettings(Settings):
    """What counts as a bad image or label, and how much of it is too much."""

    max_bad_fraction: Fraction = Field(0.1, description="share of quarantined images above which the split fails")
    require_labels: bool = Field(False, description="quarantine images without a label file")
    bad_label: Literal["drop_image", "drop_line"] = Field(
        "drop_image", description="what a bad label line takes with it: its whole image, or only itself"
    )
    min_side: int = Field(10, ge=1, description="smaller images are quarantined (px)")
    max_pixels: int = Field(50_000_000, ge=1, description="larger images are quarantined (px)")
    max_aspect: float = Field(50.0, ge=1, description="longer strips are quarantined (long side / short side)")
    cache: bool = Field(True, description="remember checked images from one command to the next; decides no result")


class SplitSettings(Settings):
    """How images are divided."""

    ratios: tuple[float, float, float] = Field((0.7, 0.15, 0.15), description="shares of train, val, test; sum 1")
    keep_splits: bool = Field(False, description="keep the splits the data set came with")
    from_file: Path | None = Field(None, description="take the splits from this table, for example a run's splits.csv")
    repair: bool = Field(
        False, description="keep the splits that are given, and where they leak move the fewest images"
    )
    seed: int = Field(0, ge=0, description="seed of the split")
    group_by: str | None = Field(
        None,
        description="what keeps images together: a regular expression on names (its first group), or a .csv with file, "
        "group; null: what the names say of videos and sources",
    )
    near_duplicates: bool = Field(
        True, description="keep resized, recompressed, brightened and mirrored copies together"
    )
    name_patterns: bool = Field(True, description="keep frames of one video and Roboflow copies of one image together")
    folds: int | None = Field(None, ge=2, description="divide train and val into so many folds as well (folds.csv)")
    repeats: int = Field(1, ge=1, description="divide into folds so many times, each time differently")
    labels_fraction: Share = Field(
        1.0, description="share of training images that keep their labels; the rest joins the unlabelled pool"
    )

    @field_validator("ratios")
    @classmethod
    def _sum_to_one(cls, ratios: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(ratios) <= 0 or abs(sum(ratios) - 1) > 1e-6:
            raise ValueError("train, val and test ratios must each be above 0 and sum to 1")
        return ratios

    @field_validator("group_by")
    @classmethod
    def _rule(cls, rule: str | None) -> str | None:
        """A regular expression as it is; a table's name made absolute, so that a run goes on from any folder."""
        if rule is None or not rule.lower().endswith(".csv"):
            try:
                re.compile(rule or "")
            except re.error as error:
                raise ValueError(f"is neither a .csv nor a regular expression: {error}") from error
            return rule
        return str(Path(rule).resolve())

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if self.from_file is not None and self.keep_splits:
            raise ValueError(
                "from_file and keep_splits exclude each other; take one back: -S split.from_file=null, or "
                "-S split.keep_splits=false"
            )
        if self.repeats > 1 and self.folds is None:
            raise ValueError("repeats needs folds, for example --folds 5")
        return self

    @property
    def keeps(self) -> bool:
        """Whether splits are given and not made: the data set's own, or those of a table."""
        return self.keep_splits or self.repair or self.from_file is not None


def _size(model: str) -> str:
    """'yolov5x' from 'yolov5x', 'YOLOv5xu', 'yolov5x.pt' or 'x'."""
    name = model.strip().lower().removesuffix(".pt").removesuffix(".yaml").removesuffix("u")
    name = name if name.startswith("yolov5") else f"yolov5{name}"
    if name not in MODELS:
        raise ValueError(f"unknown model; choose one of {', '.join(MODELS)}")
    return name


class AugmentSettings(Settings):
    """Augmentation of training images, in the names and units of the ultralytics package."""

    degrees: float = Field(0.0, ge=0, le=180, description="rotation (+/- degrees)")
    translate: Fraction = Field(0.1, description="shift (+/- share of the image)")
    scale: float = Field(0.5, ge=0, description="zoom (+/- gain)")
    fliplr: Fraction = Field(0.5, description="chance of a left-right flip")
    flipud: Fraction = Field(0.0, description="chance of an up-down flip")
    mosaic: Fraction = Field(1.0, description="chance of four images in one")
    mixup: Fraction = Field(0.0, description="chance of blending two images")
    hsv_h: Fraction = Field(0.015, description="hue (+/- share)")
    hsv_s: Fraction = Field(0.7, description="saturation (+/- share)")
    hsv_v: Fraction = Field(0.4, description="brightness (+/- share)")


class TrainSettings(Settings):
    """One training. The optimiser is fixed, not chosen by data size, so that two arms stay comparable."""

    section: ClassVar[str] = "train"  # where these settings stand in `Config`, for messages

    model: str = Field("yolov5n", description="yolov5n, s, m, l or x")
    weights: Path | None = Field(None, description="start from this checkpoint instead of the official one")
    from_scratch: bool = Field(False, description="start from random weights")
    epochs: int = Field(10, ge=1, description="passes over the training images")
    imgsz: int = Field(640, ge=32, le=4096, description="image size (px, a multiple of 32)")
    batch: int = Field(5, ge=1, description="images a step")
    optimizer: Literal["AdamW", "Adam", "SGD", "RMSProp", "NAdam", "RAdam", "Adamax"] = Field(
        "AdamW", description="never 'auto', which changes with the number of images"
    )
    lr0: float = Field(0.001, gt=0, description="learning rate after the warm-up")
    lrf: float = Field(0.01, gt=0, description="last learning rate as a share of lr0")
    cos_lr: bool = Field(False, description="cosine instead of linear decay")
    momentum: Fraction = Field(0.937, description="momentum, or beta1 of Adam")
    weight_decay: float = Field(0.0005, ge=0, description="L2 penalty")
    warmup_epochs: float = Field(3.0, ge=0, description="epochs of rising learning rate")
    nbs: int | None = Field(None, ge=1, description="images an optimiser step (gradients accumulate); null: batch")
    close_mosaic: int = Field(10, ge=0, description="last epochs without mosaic (at most a quarter of all)")
    patience: int = Field(0, ge=0, description="stop after so many epochs without gain; 0: never")
    augment: AugmentSettings = Field(default_factory=AugmentSettings, description="augmentation")

    @field_validator("model")
    @classmethod
    def _one_of_the_sizes(cls, model: str) -> str:
        return _size(model)

    @field_validator("imgsz")
    @classmethod
    def _multiple_of_stride(cls, imgsz: int) -> int:
        return _on_stride(imgsz)

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if self.weights is not None and self.from_scratch:
            raise ValueError(
                "weights and from_scratch exclude each other; take one back: "
                f"-S {self.section}.weights=null, or -S {self.section}.from_scratch=false"
            )
        return self

    @property
    def tail_epochs(self) -> int:
        """Last epochs that are without mosaics."""
        return min(self.close_mosaic, self.epochs // 4)


class TeacherSettings(TrainSettings):
    """The large model."""

    section: ClassVar[str] = "teacher"

    model: str = Field("yolov5x", description="yolov5n, s, m, l or x")
    checkpoint: Path | None = Field(None, description="adopt this trained teacher instead of training one")
    more: tuple[Path, ...] = Field(
        (), description="further trained teachers that are adopted beside it; together they speak as one"
    )
    map_classes: dict[str, str] | None = Field(
        None, description="the adopted teacher's class names -> the data set's class names"
    )
    trained_on: Path | None = Field(
        None, description="trained_on.csv of the adopted teacher; null: the one beside the checkpoint, if any"
    )
    allow_seen_test: bool = Field(False, description="adopt a teacher even if it was trained on test images")


class PseudoSettings(Settings):
    """How the teacher writes labels."""

    images: Path | None = Field(None, description="folder of unlabelled images to label as well")
    synthetic: int = Field(
        0,
        ge=0,
        description="unlabelled images to make from the teacher alone, for when its data are gone; not with images",
    )
    synthetic_imgsz: int = Field(160, ge=32, le=1024, description="their side (px, a multiple of 32)")
    synthetic_steps: int = Field(300, ge=1, description="gradient steps they are made with")
    conf: float | dict[str, float] | None = Field(
        None, description="score threshold, one or per class; null: best F1 per class on the validation split"
    )
    iou: Fraction = Field(0.7, description="NMS threshold")
    imgsz: int | None = Field(
        None, ge=32, le=4096, description="image size (px, a multiple of 32); null: the teacher's"
    )
    augment: bool = Field(False, description="test-time augmentation: slower, sometimes better labels")
    min_map50: Fraction = Field(0.1, description="a teacher below this on the validation split does not label")

    @field_validator("conf")
    @classmethod
    def _scores(cls, conf: float | dict[str, float] | None) -> float | dict[str, float] | None:
        each = conf.values() if isinstance(conf, dict) else () if conf is None else (conf,)
        if not all(0 <= score <= 1 for score in each):
            raise ValueError("a score threshold lies between 0 and 1")
        return conf

    @field_validator("imgsz", "synthetic_imgsz")
    @classmethod
    def _multiple_of_stride(cls, imgsz: int | None) -> int | None:
        return None if imgsz is None else _on_stride(imgsz)

    @model_validator(mode="after")
    def _one_pool(self) -> Self:
        if self.synthetic and self.images is not None:
            raise ValueError(
                "synthetic and images exclude each other; take one back: -S pseudo.synthetic=0, or "
                "-S pseudo.images=null"
            )
        return self


class StudentSettings(TrainSettings):
    """The small model, and its control, which differs in its labels only."""

    section: ClassVar[str] = "student"

    labels: Literal["auto", "pseudo", "gt", "gt+pool", "gt+pseudo", "pool"] = Field(
        "auto",
        description="which labels the student learns: the teacher's (pseudo), the data set's (gt), those and the "
        "teacher's on unlabelled images (gt+pool), the latter alone (pool), or also the teacher's boxes that the data "
        "set lacks (gt+pseudo); auto: pseudo with distill.scheme labels, gt with self and mutual, else gt+pool",
    )


class DistillSettings(Settings):
    """What the student hears of its teacher beside labels."""

    scheme: Literal["labels", "cached", "online-teacher", "self", "mutual"] = Field(
        "online-teacher",
        description="labels: nothing more; cached: its stored class probabilities and doubts; online-teacher: it looks "
        "at every batch; self: the student is its own teacher; mutual: two students teach each other",
    )
    self_teacher: Literal["born-again", "ema", "deep"] = Field(
        "born-again",
        description="with scheme self: the finished student of the generation before, the average of its weights so "
        "far, or its deeper levels for the shallower ones",
    )
    generations: int = Field(
        1, ge=1, le=10, description="with self_teacher born-again: students that learn from the one before"
    )
    assistant: str | None = Field(
        None, description="a model between teacher and student, which learns from the one and teaches the other"
    )
    method: str = Field("response", description="a method or a weighted sum, as response+cwd:0.5: `kdyolo methods`")
    weight: float | Literal["auto"] | None = Field(
        None,
        description="of the distillation beside the labels; auto: so that its gradient has distill.ratio; left out: 1 "
        "for response, else auto",
    )
    ratio: float = Field(0.5, gt=0, description="with weight auto: distillation gradient / label gradient")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="course of the weight")
    warmup_epochs: float = Field(1.0, ge=0, description="epochs in which the weight rises from 0")
    until_tail: bool = Field(True, description="end with the mosaics: the last epochs are without a teacher")

    @field_validator("assistant")
    @classmethod
    def _one_of_the_sizes(cls, assistant: str | None) -> str | None:
        return None if assistant is None else _size(assistant)

    @field_validator("weight")
    @classmethod
    def _not_negative(cls, weight: float | Literal["auto"] | None) -> float | Literal["auto"] | None:
        if isinstance(weight, float) and weight < 0:
            raise ValueError("a weight is 0 or more, or auto")
        return weight


class Distilling(DistillSettings):
    """`DistillSettings` in which nothing is left out."""

    weight: float | Literal["auto"]


class CompareSettings(Settings):
    """How the arms are measured on the test split."""

    conf: Fraction = Field(0.001, description="lowest score that counts for mAP")
    iou: Fraction = Field(0.7, description="NMS threshold")
    timed_images: int = Field(60, ge=50, description="images timed per model, one at a time")
    warmup_images: int = Field(10, ge=1, description="images run before timing starts")
    examples: int = Field(8, ge=0, description="test images shown in the report")
    min_effect: float = Field(0.5, ge=0, description="smallest gain worth having (mAP50-95 points); set it beforehand")
    require: tuple[str, ...] = Field(
        (), description="what must hold, for example 'student.mAP50-95 >= 0.95 * teacher.mAP50-95'; else exit code 6"
    )

    @field_validator("require")
    @classmethod
    def _readable(cls, require: tuple[str, ...]) -> tuple[str, ...]:
        for text in require:
            Gate.parse(text)
        return require


class ReportSettings(Settings):
    """How the report is written; it decides no result."""

    lang: Lang = Field("en", description="language of report.html and report.md: en, or pt for Portuguese (Brazil)")


class RuntimeSettings(Settings):
    """The machine.

    Changing `precision` redoes trainings, labels and comparison; `device` and `threads` redo the comparison only,
    which measures time. The others redo nothing.
    """

    device: str = Field(
        "auto", description="auto, cpu, cuda, a CUDA index, or several: '0,1' trains on both and uses the first else"
    )
    processes: int | None = Field(
        None,
        ge=1,
        description="processes that share each batch of a training; null: one for each device. For a CPU only, to try "
        "out what several GPUs do, or on machines with several sockets",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 on processors that have it, mixed precision on CUDA"
    )
    threads: int | None = Field(None, ge=1, description="CPU threads; null: all physical cores")
    workers: int = Field(4, ge=0, description="loader processes (CUDA only)")
    offline: bool = Field(False, description="never use the network, not even for official weights")
    track: list[Literal["tensorboard", "mlflow", "wandb"]] = Field(
        default_factory=list, description="experiment trackers to report to"
    )


class Config(Settings):
    """Everything that decides a run."""

    seed: int = Field(0, ge=0, description="seed of weights, shuffling and augmentation (the split has its own)")
    more_seeds: tuple[int, ...] = Field(
        (), description="student and control are trained again with each of these seeds, paired; the teacher is not"
    )
    label_budgets: tuple[Share, ...] = Field(
        (), description="run the chain once for each of these shares of labelled training images; empty: once, with all"
    )
    equal_compute: bool = Field(
        False, description="also train the control longer, with as much computation as the student's distillation took"
    )
    data: DataSettings = Field(default_factory=DataSettings, description="the data set")
    audit: AuditSettings = Field(default_factory=AuditSettings, description="checks of images and labels")
    split: SplitSettings = Field(default_factory=SplitSettings, description="train / val / test")
    teacher: TeacherSettings = Field(default_factory=TeacherSettings, description="the large model")
    pseudo: PseudoSettings = Field(default_factory=PseudoSettings, description="the teacher's labels")
    student: StudentSettings = Field(default_factory=StudentSettings, description="the small model and its control")
    distill: DistillSettings = Field(default_factory=DistillSettings, description="the teacher's voice")
    compare: CompareSettings = Field(default_factory=CompareSettings, description="the measurement")
    report: ReportSettings = Field(default_factory=ReportSettings, description="what is written about it")
    runtime: RuntimeSettings = Field(
        default_factory=RuntimeSettings,
        description="the machine; precision decides trainings and labels, device and threads the comparison only",
    )

    @property
    def student_labels(self) -> str:
        """Which labels the student learns: `student.labels`, with ``auto`` resolved."""
        plain = {"labels": "pseudo", "self": "gt", "mutual": "gt"}.get(self.distill.scheme, "gt+pool")
        return plain if self.student.labels == "auto" else self.student.labels

    @property
    def distilling(self) -> Distilling:
        """`distill`, and the weight where it was left out: the scale of `response` is known, of others it is not."""
        settings = self.distill
        weight = settings.weight if settings.weight is not None else (1.0 if settings.method == "response" else "auto")
        return Distilling.model_validate({**settings.model_dump(), "weight": weight})

    @model_validator(mode="after")
    def _different_seeds(self) -> Self:
        seeds = (self.seed, *self.more_seeds)
        if len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError(f"seeds are different numbers of 0 or more, not {', '.join(map(str, seeds))}")
        return self

    @model_validator(mode="after")
    def _assistant_between(self) -> Self:
        assistant, below = self.distill.assistant, MODELS.index(self.student.model)
        above = len(MODELS) if self.teacher.checkpoint else MODELS.index(self.teacher.model)
        if assistant is not None and not below < MODELS.index(assistant) < above:
            between = ", ".join(MODELS[below + 1 : above])
            teacher = "" if self.teacher.checkpoint else f" {self.teacher.model}"
            raise ValueError(
                f"the assistant {assistant} does not stand between the teacher{teacher} and the student "
                f"{self.student.model}; "
                + (f"choose one of {between}, or take it back" if between else "there is none: take it back")
                + " with -S distill.assistant=null"
            )
        return self

    @model_validator(mode="after")
    def _gates_on_what_is_there(self) -> Self:
        for text in self.compare.require:
            if not self.equal_compute and "longer" in Gate.parse(text).arms:
                raise ValueError(
                    f"'{text}' needs the longer control, which nobody asked for: --equal-compute, or take it back "
                    "with -S compare.require=[]"
                )
        return self

    @model_validator(mode="after")
    def _one_share(self) -> Self:
        if self.label_budgets and self.split.labels_fraction != 1:
            raise ValueError(
                "label_budgets and split.labels_fraction exclude each other; take one back: "
                "-S label_budgets=[], or -S split.labels_fraction=1"
            )
        return self


def load_config(
    file: Path | None = None,
    assignments: Iterable[str] = (),
    overrides: Mapping[str, Any] | None = None,
    base: Config | None = None,
) -> Config:
    """Resolve settings; later sources win: defaults, `base`, `file`, `assignments`, `overrides`.

    Args:
        file: YAML file with any part of the settings.
        assignments: ``key.path=value`` texts, split on the first ``=``; the value is read as YAML.
        overrides: dotted key -> value, from command-line flags; None values are left out.
        base: settings to start from, for example those of an existing run.

    Raises:
        ConfigError: An unknown key (with the nearest known one), a wrong value, or a file that is no YAML mapping.
    """
    tree: dict[str, Any] = base.model_dump() if base else {}
    if file is not None:
        _merge(tree, load_mapping(file), Config)
    so_far = copy.deepcopy(tree)
    for text in assignments:
        key, separator, value = text.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"-S {text!r} is not of the form key=value.", "For example: -S student.epochs=50")
        _assign(tree, key.strip(), parse_yaml(value, f"the value of {key.strip()}") if value.strip() else None)
    for key, value in (overrides or {}).items():
        if value is not None:
            _assign(tree, key, value)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        plain = _plain(error)
        if file is not None and (wrong := _fault(so_far)) and wrong.message == plain.message:
            plain = ConfigError(f"{file}: {plain.message}", plain.hint)
        raise plain from error


def _fault(tree: Mapping[str, Any]) -> ConfigError | None:
    try:
        Config.model_validate(tree)
    except ValidationError as error:
        return _plain(error)
    return None


def changed_keys(old: Config, new: Config) -> dict[str, Any]:
    """Dotted key of every setting that differs -> its old value as plain JSON data."""
    was, now = old.model_dump(mode="json"), new.model_dump(mode="json")
    keys = [key for key in known_keys() if _value(was, key) != _value(now, key)]
    sections = {key.rpartition(".")[0] for key in known_keys()}
    return {key: _value(was, key) for key in keys if key not in sections}


def _value(tree: Mapping[str, Any], dotted: str) -> Any:
    value: Any = tree
    for part in dotted.split("."):
        value = value[part]
    return value


def stable_hash(data: Any) -> str:
    """sha256 (hex) of plain data: equal data give equal hashes on any machine, whatever the order of keys."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _on_stride(imgsz: int) -> int:
    if imgsz % _STRIDE:
        nearest = max(_STRIDE, round(imgsz / _STRIDE) * _STRIDE)
        raise ValueError(f"must be a multiple of {_STRIDE}; nearest: {nearest}")
    return imgsz


def _merge(tree: dict[str, Any], other: Mapping[str, Any], model: type[BaseModel]) -> None:
    """Lay `other` over `tree`, section by section; a setting that is itself a mapping is replaced as a whole."""
    for key, value in other.items():
        section = _section(model, key)
        if section and isinstance(value, Mapping) and isinstance(tree.get(key, {}), dict):
            _merge(tree.setdefault(key, {}), value, section)
        else:
            tree[key] = value


def _section(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """The model of a section of settings; None for a single setting or an unknown key."""
    kind = model.model_fields[key].annotation if key in model.model_fields else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _assign(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, leaf = dotted.split(".")
    for parent in parents:
        child = tree.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"Unknown key: '{dotted}'.", f"'{parent}' is a single value.")
        tree = child
    tree[leaf] = value


def _plain(error: ValidationError) -> ConfigError:
    """Pydantic's report as one sentence per fault, with the nearest known key for an unknown one."""
    lines, hint = [], "`kdyolo init` writes every setting with its meaning."
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, known_keys(), n=1, cutoff=0.5)
            lines.append(f"Unknown key: '{key}'." + (f" Did you mean '{near[0]}'?" if near else ""))
        else:
            message = fault["msg"].removeprefix("Value error, ")
            got = "" if isinstance(fault["input"], (dict, BaseModel)) else f" (got {fault['input']!r})"
            where = f"{key}: " if key else ""  # of several settings at once the message itself says which
            lines.append(f"{where}{message}{got}.")
    return ConfigError(" ".join(lines), hint)


def known_keys(model: type[BaseModel] = Config, prefix: str = "") -> list[str]:
    """Every dotted key of the settings, sections included."""
    keys = []
    for name in model.model_fields:
        keys.append(prefix + name)
        if section := _section(model, name):
            keys += known_keys(section, f"{prefix}{name}.")
    return keys
