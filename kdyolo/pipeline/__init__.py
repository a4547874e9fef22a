"""The way through the stages: what must run, in which order, under whose lock, and what is written down about it."""

from kdyolo.pipeline.assistant import plan_with_assistant
from kdyolo.pipeline.budgets import execute, parts
from kdyolo.pipeline.gates import check_gates
from kdyolo.pipeline.order import ancestors, chain
from kdyolo.pipeline.planning import Action, Step, plan
from kdyolo.pipeline.running import Outcome
from kdyolo.pipeline.settings import resolve

__all__ = [
    "Action",
    "Outcome",
    "Step",
    "ancestors",
    "chain",
    "check_gates",
    "execute",
    "parts",
    "plan",
    "plan_with_assistant",
    "resolve",
]
