"""How the tests call the commands."""

from __future__ import annotations

from collections.abc import Callable

from typer.testing import Result

Call = Callable[..., Result]
COARSE = ("--ecut", "150", "--kpts", "2x2x2")
