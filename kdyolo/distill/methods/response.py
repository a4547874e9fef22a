"""The default: what the teacher answers, classes and boxes."""

from __future__ import annotations

from kdyolo.distill.info import MethodInfo

INFO = MethodInfo(
    name="response",
    family="response",
    paper="Yang et al., ICCV 2023 (bckd) and Zheng et al., CVPR 2022 (ld)",
    url="https://arxiv.org/abs/2308.14286",
    formula="0.5 bckd + 1.5 ld: in the proportions of the ground-truth loss",
    equation="0.5 L_bckd + 1.5 L_ld",
    cost="next to nothing: the outputs only, no parameters",
    use="the default; response+box adds the overlap of the boxes",
    replayable=True,
    min_bins=2,
    parts={"bckd": 0.5, "ld": 1.5},
)
