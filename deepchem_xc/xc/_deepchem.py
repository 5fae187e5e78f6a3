"""DeepChem's density-functional base types, imported without its import-time messages.

When first imported, DeepChem reports every optional dependency that it does not find (through
``logging``, ``warnings`` and prints). None of these reports concerns the few types used here, so
they are silenced; the logging and warning set-up of the calling program is left as it was.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

__all__ = [
    "AddBaseXC",
    "BaseXC",
    "MulBaseXC",
    "SpinParam",
    "ValGrad",
    "del_attr",
    "get_attr",
    "set_attr",
]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, disabled = list(root.handlers), root.level, root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        root.handlers[:] = handlers
        root.setLevel(level)


with _quiet():
    from deepchem.utils.attribute_utils import del_attr, get_attr, set_attr
    from deepchem.utils.dft_utils import AddBaseXC, BaseXC, MulBaseXC, SpinParam, ValGrad
