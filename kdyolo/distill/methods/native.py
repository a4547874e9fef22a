"""Ultralytics' own distillation, as one method among ours."""

from __future__ import annotations

from kdyolo.distill.info import MethodInfo

INFO = MethodInfo(
    name="native",
    family="feature",
    paper="no paper; part of the ultralytics package (`distill_model`, `dis`)",
    url="https://docs.ultralytics.com",
    formula="squared difference of the neck maps, after a two-layer projection of the student's, weighted by the "
    "teacher's best class probability",
    equation="sum_l sum_a q_a mean_c (g_l(z) - y)^2 / sum_a q_a",
    cost="a projection with more parameters than YOLOv5n itself (2.58 M from n to x)",
    use="to compare with; its weight is ultralytics' `dis`, and it cannot be combined",
    weight=6.0,
    run_by="ultralytics",
)
