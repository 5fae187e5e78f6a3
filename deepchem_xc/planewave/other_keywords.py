"""Unknown keywords, and what to write instead."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from difflib import get_close_matches
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# Keywords of GPAW, PySCF and others, and what to write here instead.
_ELSEWHERE = {
    "charge": "only neutral cells can be computed",
    "mode": "plane waves only, with ecut in eV: PW(400) is ecut=400",
    "h": "the grid follows from ecut, or is fft_size",
    "gpts": "fft_size",
    "basis": "plane waves only, with ecut",
    "setups": "pseudopotentials",
    "maxiter": "convergence={'maxiter': ...}",
    "width": "occupations={'name': 'fermi-dirac', 'width': ...}",
    "smearing": "occupations={'name': 'fermi-dirac', 'width': ...}",
    "max_cycle": "convergence={'maxiter': ...}",
    "conv_tol": "convergence={'energy': ...}, eV per valence electron",
    "eigensolver": "there is one, block Davidson",
    "mixer": "mixing",
    "parallel": "threads are torch's: torch.set_num_threads",
    "verbose": "txt='-' prints every step",
    "fixmom": "occupations={'fixmagmom': True}",
    "spin": "spinpol=True and atoms.set_initial_magnetic_moments([...])",
    "nspins": "spinpol",
    "hund": "atoms.set_initial_magnetic_moments([...])",
    "magmoms": "atoms.set_initial_magnetic_moments([...])",
    "kpoints": "kpts",
    "functional": "xc",
    "pseudos": "pseudopotentials",
    "usesymm": "symmetry",
}
# Hints for functions, whose keywords differ from the calculator's.
_IN_FUNCTIONS = {
    "xc": "functional",
    "txt": "callback=print shows every step",
    "verbose": "callback=print shows every step",
    "restart": "start",
}


def explain_unknown(
    unknown: Collection[str], valid: Collection[str], caller: str = "PlaneWaveDFT"
) -> str:
    """Message for unknown keywords, which says what to write instead of GPAW's.

    Parameters
    ----------
    unknown, valid : collection of str
        Keywords.
    caller : str, optional
        The calculator, or the function that was called.

    Examples
    --------
    >>> explain_unknown(["charge"], ["xc", "ecut"])
    'unknown keyword(s) charge of PlaneWaveDFT (charge: only neutral cells can be computed); ...'
    >>> explain_unknown(["encut"], ["ecut", "kpts"], "scf")
    'unknown keyword(s) encut of scf (encut: did you mean ecut?); the valid ones are ecut, kpts.'
    """
    hints = _ELSEWHERE if caller == "PlaneWaveDFT" else {**_ELSEWHERE, **_IN_FUNCTIONS}
    known = {name: hints[name] for name in unknown if name in hints}
    near = {name: get_close_matches(name, valid, n=1) for name in unknown if name not in known}
    known |= {name: f"did you mean {found[0]}?" for name, found in near.items() if found}
    said = "; ".join(f"{name}: {known[name]}" for name in unknown if name in known)
    besides = " (besides restart and atoms)" if caller == "PlaneWaveDFT" else ""
    return (
        f"unknown keyword(s) {', '.join(unknown)} of {caller}{f' ({said})' if said else ''}; "
        f"the valid ones are {', '.join(valid)}{besides}."
    )


def names_similar_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function answer unknown keywords with `explain_unknown`.

    Examples
    --------
    >>> @names_similar_keywords
    ... def area(*, width=1.0, height=1.0):
    ...     return width * height
    >>> area(hight=2.0)
    Traceback (most recent call last):
    TypeError: unknown keyword(s) hight of area (hight: did you mean height?); the valid ones are...
    """
    valid = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not parameter.POSITIONAL_ONLY
    ]

    @functools.wraps(function)
    def asked(*args: P.args, **keywords: P.kwargs) -> R:
        if unknown := [name for name in keywords if name not in valid]:
            raise TypeError(explain_unknown(unknown, valid, function.__name__))
        return function(*args, **keywords)

    return asked
