"""Stateful models: how hypothesis runs them here."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


def run_model(machine: type[RuleBasedStateMachine], examples: int, steps: int) -> None:
    """Walk through a model so often, so many steps each; a step may do I/O and take its time."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
