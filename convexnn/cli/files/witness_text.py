"""Witnesses as VNN-COMP writes them: each input and each output with its value, in parentheses."""

from __future__ import annotations

from collections.abc import Sequence


def witness_text(inputs: Sequence[float], outputs: Sequence[float]) -> str:
    """Return ((X_0 value) ... (Y_0 value) ...), a line each; numbers read back to the last bit."""
    pairs = [f"(X_{index} {value!r})" for index, value in enumerate(inputs)]
    pairs += [f"(Y_{index} {value!r})" for index, value in enumerate(outputs)]
    return "(" + "\n".join(pairs) + ")\n"
