"""Where a warning points: at the line of a user's program, however deep it was raised."""

from __future__ import annotations

import sys

# Packages through which a user's call passes: DeepChem's loaders call featurizers, ASE's atoms and
# optimizers call calculators, and functools' cached properties call their functions.
_BETWEEN = ("deepchem_xc", "deepchem", "ase", "contextlib", "functools", "pydantic")


def users_stacklevel() -> int:
    """``stacklevel`` of `warnings.warn`, in the calling function, for the user's line.

    Examples
    --------
    >>> users_stacklevel() >= 1
    True
    """
    frame, level = sys._getframe(1), 1
    while frame.f_back and str(frame.f_globals.get("__name__")).split(".")[0] in _BETWEEN:
        frame, level = frame.f_back, level + 1
    return level
