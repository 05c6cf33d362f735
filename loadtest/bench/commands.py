"""Processes of a bench that take orders: one line of JSON in, one line of JSON out."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from types import TracebackType
from typing import Any

from common.settings import ROOT


class Commanded:
    """A process started with `python -m module argument`, ended with the `with` block.

    Args:
        patience: seconds an answer may take.
    """

    def __init__(self, module: str, argument: dict[str, Any], patience: float = 180.0) -> None:
        self._patience = patience
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(argument)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Commanded:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process: its stdin ends, and if that is not enough it is killed."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def order(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Have something done; give the answer.

        Raises:
            RuntimeError: it failed, died or was too slow.
        """
        self.begin(do, **arguments)
        return self.answer()

    def begin(self, do: str, **arguments: Any) -> None:
        """Have something done; `answer` gives the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for a line of the process.

        Raises:
            RuntimeError: it failed, died or was too slow.
        """
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], self._patience)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            raise RuntimeError(f"no answer from pid {self.pid} (exit code {self._process.poll()})")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer
