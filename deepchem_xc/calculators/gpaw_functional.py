"""Functionals inside GPAW: `to_gpaw`, and files of such calculations: `read_gpw`."""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from deepchem_xc.xc import (
    OneOrbital,
    XCFunctional,
    get_xc,
    load_functional,
    refuse_exact_exchange,
    save_functional,
)
from deepchem_xc.xc.identity import fixed_energies
from deepchem_xc.xc.trial import check_functional

if TYPE_CHECKING:
    from types import ModuleType

    from deepchem_xc.xc import BaseXC

__all__ = ["read_gpw", "to_gpaw"]

# Relative error of energies at which a functional is that of a file: another machine's rounding.
_SAME = 1e-9
# Version of .gpw files that GPAW's new interface began with.
_FIRST_NEW = 4


def to_gpaw(functional: str | os.PathLike[str] | int | BaseXC, *, setup_name: str = "PBE") -> Any:
    """Functional for ``GPAW(xc=...)``.

    Parameters
    ----------
    functional : str, path-like, int or BaseXC
        As for :func:`~deepchem_xc.xc.get_xc`: a name, a file or a functional; LDA, GGA or meta-GGA.
        Its weights must stay as they are as long as GPAW computes with it.
    setup_name : str, optional
        Functional that GPAW's PAW setups were made with.

    Returns
    -------
    gpaw.dft.XC
        One object for the new and the old interface of GPAW, any number of calculators, spins, and
        `calc.get_xc_difference`.

    Raises
    ------
    ImportError
        Without GPAW 26.7 or later.
    TypeError, ValueError, FileNotFoundError
        As :func:`~deepchem_xc.xc.get_xc`; for functionals that give wrong results in any
        calculation; for :class:`~deepchem_xc.xc.OneOrbital`.

    Notes
    -----
    GPAW raises ``RuntimeError`` from a calculation if the functional was changed after `to_gpaw`.
    Results that a calculator keeps are those of the functional at the time of `to_gpaw`.

    Examples
    --------
    >>> from importlib.util import find_spec
    >>> from ase import Atoms
    >>> from deepchem_xc.calculators import to_gpaw
    >>> if find_spec("gpaw"):
    ...     from gpaw.dft import GPAW
    ...     helium = Atoms("He", cell=[3, 3, 3], pbc=True)
    ...     helium.calc = GPAW(mode="pw", h=0.25, xc=to_gpaw("PBE"), txt=None)
    ...     energy = helium.get_potential_energy()
    """
    xc = get_xc(functional)
    assert isinstance(xc, XCFunctional)
    _refuse_one_orbital(xc)
    refuse_exact_exchange(
        xc,
        "GPAW adds to its own hybrids alone: name one of them, as in GPAW(xc='PBE0')",
    )
    check_functional(xc)
    objects = _gpaw()
    from deepchem_xc.calculators.gpaw_kernel import kind_of

    made: Any = objects.CLASSES[kind_of(xc)](xc, setup_name, _record(xc, setup_name))
    return made


def read_gpw(
    path: str | os.PathLike[str],
    functional: str | os.PathLike[str] | int | BaseXC | None = None,
    **keywords: Any,
) -> Any:
    """Calculator of GPAW from a file that a calculation with `to_gpaw` wrote.

    Parameters
    ----------
    path : str or path-like
        Such as ``"si.gpw"``, written with either interface of GPAW.
    functional : str, path-like, int or BaseXC, optional
        The functional; by default the copy in the file. One with classes of your own is not in
        the file and must be given.
    **keywords
        For ``gpaw.GPAW``: `txt`, `parallel`, `communicator`.

    Returns
    -------
    gpaw.new.ase_interface.ASECalculator
        With the new interface; it continues with this functional.

    Raises
    ------
    ImportError
        Without GPAW.
    ValueError
        If the file is one of a calculation with a functional of GPAW's, if it has no copy of the
        functional and none is given, if another one is given, and for meta-GGAs in files that
        GPAW's old interface wrote.

    Examples
    --------
    >>> import tempfile
    >>> from importlib.util import find_spec
    >>> from ase import Atoms
    >>> from deepchem_xc.calculators import read_gpw, to_gpaw
    >>> if find_spec("gpaw"):
    ...     from gpaw.dft import GPAW
    ...     path = tempfile.mkdtemp() + "/helium.gpw"
    ...     helium = Atoms("He", cell=[3, 3, 3], pbc=True)
    ...     helium.calc = GPAW(mode="pw", h=0.25, xc=to_gpaw("PBE"), txt=None)
    ...     energy = helium.get_potential_energy()
    ...     helium.calc.write(path)
    ...     assert read_gpw(path).get_potential_energy() == energy
    """
    if keywords.get("legacy_gpaw"):
        raise ValueError("read_gpw makes calculators with GPAW's new interface: leave legacy_gpaw")
    _gpaw()
    from gpaw.dft import GPAW

    stored, version = _stored(path)
    xc = _restored(stored, functional, path)
    if xc.type == "MGGA" and version < _FIRST_NEW:
        raise ValueError(
            f"{os.fspath(path)!r} was written with GPAW's old interface, which leaves out the "
            "kinetic energy density that a meta-GGA needs: write it with the new one, without "
            "legacy_gpaw"
        )
    return GPAW(
        os.fspath(path),
        object_hooks={"xc": lambda _: xc},
        **{**keywords, "legacy_gpaw": False},
    )


def _gpaw() -> ModuleType:
    try:
        from deepchem_xc.calculators import gpaw_objects
    except ImportError as error:
        raise ImportError(
            f"functionals inside GPAW need GPAW 26.7 or later ({error}): pip install "
            "'deepchem_xc[gpaw]', or `make gpaw` in the project's folder, which names the "
            "libraries that it needs"
        ) from error
    return gpaw_objects


def _refuse_one_orbital(functional: XCFunctional) -> None:
    for part in functional.modules():
        if isinstance(part, OneOrbital):
            raise ValueError(
                f"{part.name} as a OneOrbital holds for a single orbital in each channel, and "
                "GPAW's spheres contain core electrons: give the meta-GGA itself, "
                f"{part.functional.name}"
            )


def _record(functional: XCFunctional, setup_name: str) -> dict[str, Any]:
    """What a .gpw file keeps of a functional, in types of JSON."""
    record: dict[str, Any] = {
        "deepchem_xc": functional.name or type(functional).__name__,
        "setup_name": setup_name,
        "energies": fixed_energies(functional).tolist(),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "functional.safetensors"
        try:
            save_functional(functional, path)
        except ValueError as error:
            record["no_copy"] = str(error)
        else:
            record["copy"] = base64.b64encode(path.read_bytes()).decode("ascii")
    return record


def _stored(path: str | os.PathLike[str]) -> tuple[Any, int]:
    """What a file says about its functional, and the version of its format."""
    from ase.io import ulm

    with ulm.open(path) as reader:
        return reader.parameters.asdict().get("xc", "LDA"), int(reader.version)


def _restored(stored: Any, functional: Any, path: str | os.PathLike[str]) -> Any:
    name = stored.get("deepchem_xc") if isinstance(stored, dict) else None
    if name is None:
        theirs = stored["name"] if isinstance(stored, dict) else stored
        raise ValueError(
            f"{os.fspath(path)!r} was written with GPAW's functional {theirs!r}, not with one from "
            "to_gpaw: open it with gpaw.GPAW(path)"
        )
    if functional is None:
        return to_gpaw(_copy(stored, name, path), setup_name=stored["setup_name"])
    given = get_xc(functional)
    assert isinstance(given, XCFunctional)
    expected = torch.tensor(stored["energies"], dtype=torch.float64)
    with torch.no_grad():
        energies = fixed_energies(given)
    if not torch.allclose(energies, expected, rtol=_SAME, atol=1e-12, equal_nan=True):
        raise ValueError(
            f"{os.fspath(path)!r} was written with the functional {name}, and {given.name} gives "
            "other energies: pass the one that it was written with, or none"
        )
    return to_gpaw(given, setup_name=stored["setup_name"])


def _copy(stored: dict[str, Any], name: str, path: str | os.PathLike[str]) -> XCFunctional:
    if "copy" not in stored:
        raise ValueError(
            f"{os.fspath(path)!r} holds no copy of its functional {name}, because "
            f"{stored['no_copy']} Pass the functional: read_gpw(path, functional)"
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "functional.safetensors"
        file.write_bytes(base64.b64decode(stored["copy"]))
        return load_functional(file)
