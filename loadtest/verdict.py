"""What a judge of a run found: faults by name, with the first of them in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

SHOWN = 20
"""Examples of faults kept."""


@dataclass
class Verdict:
    """What was found.

    Attributes:
        faults: how often each was found.
        examples: words for the first of them.
        failures: why the run as a whole does not count.
    """

    faults: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Tell whether all held."""
        return not self.failures and not +self.faults

    def blame(self, fault: str, words: str) -> None:
        """Note a fault."""
        self.faults[fault] += 1
        if len(self.examples) < SHOWN:
            self.examples.append(f"{fault}: {words}")
