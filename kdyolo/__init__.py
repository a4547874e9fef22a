"""kdyolo: distil a large YOLOv5 detector into a small one, and know whether it helped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdyolo.api import (
        audit,
        benchmark,
        build_report,
        compare,
        convert,
        demo,
        describe_method,
        doctor,
        export_labels,
        import_labels,
        init,
        leaderboard,
        methods,
        preflight,
        pseudo_label,
        run,
        split,
        status,
        train_student,
        train_teacher,
        watch,
    )

__all__ = [
    "audit",
    "benchmark",
    "build_report",
    "compare",
    "convert",
    "demo",
    "describe_method",
    "doctor",
    "export_labels",
    "import_labels",
    "init",
    "leaderboard",
    "methods",
    "preflight",
    "pseudo_label",
    "run",
    "split",
    "status",
    "train_student",
    "train_teacher",
    "watch",
]


def __getattr__(name: str) -> Any:
    # Lazily, so that the command line and every submodule start without what the API needs.
    if name == "__version__":
        import importlib.metadata

        return importlib.metadata.version("kdyolo")
    if name in __all__:
        import kdyolo.api

        return getattr(kdyolo.api, name)
    raise AttributeError(f"module 'kdyolo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), "__version__", *__all__])
