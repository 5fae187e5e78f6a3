"""Text log of a calculation: settings, a line for each step, energies."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

import numpy as np
from ase.units import Hartree

from deepchem_xc import __version__
from deepchem_xc.tables import as_table

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray
    from torch import Tensor

    from deepchem_xc.planewave.problem import KohnShamProblem
    from deepchem_xc.planewave.result import SCFResult

# Indentation of a table of atoms.
_INDENT = " " * 16


class TextLog:
    """Writes the course of a calculation.

    Parameters
    ----------
    txt : None, "-", path or text file
        None writes nothing, "-" to the standard output. A file of this name is overwritten by the
        first calculation and continued by the following ones.

    Raises
    ------
    ValueError
        If it is none of these.
    """

    def __init__(self, txt: str | os.PathLike[str] | TextIO | None) -> None:
        if not (txt is None or isinstance(txt, (str, os.PathLike)) or hasattr(txt, "write")):
            raise ValueError(f"txt must be None, '-', a path or a text file, got {txt!r}.")
        self._txt = txt
        self._mode = "w"
        self._started = time.perf_counter()

    def _write(self, lines: Sequence[str]) -> None:
        if self._txt is None:
            return
        text = "\n".join(lines) + "\n"
        if self._txt == "-":
            sys.stdout.write(text)
            sys.stdout.flush()
        elif isinstance(self._txt, (str, os.PathLike)):
            # Opened for every piece: a run that is killed leaves a log up to that point.
            with open(self._txt, self._mode) as file:
                file.write(text)
            self._mode = "a"
        else:
            self._txt.write(text)
            self._txt.flush()

    def header(self, atoms: Atoms, problem: KohnShamProblem, start: str) -> None:
        """Write structure, settings and sizes."""
        if self._txt is None:
            return
        self._started = time.perf_counter()
        basis, smearing = problem.basis, problem.smearing
        moments = np.asarray(basis.crystal.magnetic_moments or np.zeros(len(atoms)))
        mesh = "explicit list" if basis.kpoints.size is None else f"mesh {basis.kpoints.size}"
        dropped = basis.kpoints.dropped
        avoided = f" ({dropped} more with a mesh that contains Gamma)" if dropped else ""
        smoothing = ""
        if basis.ecut_smoothing:
            smoothing = f" (smoothed over {basis.ecut_smoothing * Hartree:.2f} eV)"
        grid = " x ".join(str(n) for n in basis.fft_size)
        width = f", width {smearing.width * Hartree:g} eV" if smearing.width else ""
        fixed = "" if problem.moment is None else f", moment fixed at {problem.moment:g} mu_B"
        lines = [
            f"deepchem_xc {__version__}: plane-wave Kohn-Sham calculation",
            "",
            f"structure        {atoms.get_chemical_formula()}, {atoms.get_volume():.4f} Angstrom^3",
            "                 cell (Angstrom)",
            as_table(_fixed(np.asarray(atoms.cell)), left=0, indent=" " * 20),
            "                 positions (Angstrom)" + (", moment (mu_B)" if moments.any() else ""),
        ]
        columns = [atoms.symbols, *zip(*_fixed(atoms.positions), strict=True)]
        if moments.any():
            columns.append([f"{moment:.3f}" for moment in moments])
        lines += [
            as_table(list(zip(*columns, strict=True)), indent=_INDENT),
            f"functional       {problem.functional.name}",
            *(
                f"pseudopotential  {symbol}: {pseudo.name}, {pseudo.valence:g} electrons"
                for symbol, pseudo in sorted(problem.pseudopotentials.items())
            ),
            f"plane waves      {basis.ecut * Hartree:.2f} eV{smoothing}, "
            f"{min(basis.npw_per_k)} to {max(basis.npw_per_k)}; grid {grid}",
            f"k-points         {mesh}, {basis.nk} irreducible, "
            f"{len(basis.kpoints.symmetry)} symmetry operations{avoided}",
            f"electrons        {problem.nelectrons:g}, {problem.nspin} spin channel(s)",
            f"occupations      {smearing.name}{width}{fixed}",
            f"device           {basis.device}",
            f"start            {start}",
            "",
            " step  energy (eV)         change (eV)  density error  orbital error (eV)"
            + ("  moment (mu_B)" if problem.nspin == 2 else ""),
        ]
        self._write(lines)

    def step(self, record: dict[str, float]) -> None:
        """Write a line for one step of the loop."""
        moment = f"  {record['moment']:13.5f}" if "moment" in record else ""
        self._write(
            [
                f"{int(record['step']):5d}  {record['energy'] * Hartree:18.9f}"
                f"  {record['energy_change'] * Hartree:12.2e}  {record['density_error']:13.2e}"
                f"  {record['orbital_error'] * Hartree:18.2e}{moment}"
            ]
        )

    def failure(self, error: BaseException) -> None:
        """Write why there is no result."""
        self._write(["", f"failed: {error}", ""])

    def summary(self, result: SCFResult) -> None:
        """Write energies and levels of a converged calculation."""
        if self._txt is None:
            return
        # Spheres add to terms of the same name on the grid.
        names = [*dict.fromkeys(term.name for term in result.problem.terms), "entropy"]
        lines = ["", f"converged in {result.nsteps} steps", ""]
        lines += [f"{name:16s} {_ev(result.energies[name])}" for name in names]
        lines += [
            f"free energy      {_ev(result.free_energy)}",
            f"total energy     {_ev(result.energy)}",
            f"extrapolated     {_ev(result.extrapolated_energy)}   (zero width)",
            "",
            "Fermi level      " + ", ".join(_fermi_levels(result)),
        ]
        if bool((result.occupations < 1.0 / result.problem.nspin).any()):
            lines.append(f"band gap         {float(result.band_gap) * Hartree:.5f} eV")
        if result.problem.nspin == 2:
            moments = ", ".join(f"{moment:.4f}" for moment in result.atom_moments.tolist())
            lines.append(f"magnetic moment  {float(result.magnetic_moment):.5f} mu_B")
            kind = "Hirshfeld" if result.problem.spheres is None else "inside of the spheres"
            lines.append(f"  of the atoms   {moments} mu_B ({kind})")
        lines += [f"time             {time.perf_counter() - self._started:.2f} s", ""]
        self._write(lines)

    def forces(
        self, atoms: Atoms, forces: NDArray[np.float64], stress: NDArray[np.float64]
    ) -> None:
        """Write forces (eV/Angstrom) and stress (eV/Angstrom^3, Voigt order)."""
        lines = ["forces (eV/Angstrom)"]
        rows = [
            [symbol, *numbers]
            for symbol, numbers in zip(atoms.symbols, _fixed(forces), strict=True)
        ]
        lines += [as_table(rows, indent=_INDENT)]
        lines += ["stress (eV/Angstrom^3: xx yy zz yz xz xy)"]
        lines += [as_table(_fixed(stress[None]), left=0, indent=" " * 20), ""]
        self._write(lines)


def _fixed(numbers: NDArray[np.float64]) -> list[list[str]]:
    """Rows of numbers with eight decimals."""
    return [[f"{number:.8f}" for number in row] for row in numbers]


def _fermi_levels(result: SCFResult) -> list[str]:
    """Fermi level as text, or one for each spin; a channel without electrons has none."""
    levels = (result.fermi_level.reshape(-1) * Hartree).tolist()
    shown = [f"{level:.5f} eV" if math.isfinite(level) else "none" for level in levels]
    return shown if len(shown) == 1 else [f"{shown[0]} (up)", f"{shown[1]} (down)"]


def _ev(energy: Tensor) -> str:
    return f"{float(energy) * Hartree:18.9f} eV"
