"""What a distillation costs beside the student's own training, counted in operations, not in seconds."""

from __future__ import annotations

from kdyolo.config import Config

_STEP = 3.0  # forward passes that a training step amounts to: going back takes twice as much as going forward


def relative_compute(config: Config, student: float, teacher: float, images: int, asked: int) -> float:
    """Computation of the distilled student over that of the same training without a teacher, 1 or more.

    A training step counts as three forward passes (Kaplan et al., "Scaling Laws for Neural Language Models", 2020,
    section 2.1), a forward pass of a convolutional network grows with the area of the image. Validation, losses and
    what it took to train the teacher are not counted.

    Args:
        config: Settings of the run.
        student: GFLOPs of the student's forward pass at any one size.
        teacher: The same of the teacher, at the same size; of several, their sum.
        images: Training images an epoch.
        asked: Images that the teacher was asked about once, for its labels.
    """
    settings, distill, epochs = config.student, config.distill, config.student.epochs
    area = settings.imgsz**2
    own = _STEP * student * area * images * epochs
    listening = epochs - settings.tail_epochs if distill.until_tail else epochs
    extra = 0.0
    if config.student_labels != "gt" or distill.scheme == "cached":
        extra += teacher * asked * (config.pseudo.imgsz or config.teacher.imgsz) ** 2
        synthetic = config.pseudo.synthetic * config.pseudo.synthetic_steps
        extra += _STEP * teacher * synthetic * config.pseudo.synthetic_imgsz**2
    match distill.scheme, distill.self_teacher:
        case "online-teacher", _:
            extra += teacher * area * images * listening
        case "mutual", _:
            extra += own
        case "self", "born-again":
            extra += distill.generations * (own + student * area * images * listening)
        case "self", "ema":
            extra += student * area * images * listening
    return 1 + extra / own
