"""Reference equations of state, computed with GPAW (plane waves, PAW, PBE).

The results of :func:`run_gpaw_eos` with the default settings are kept in ``data/gpaw_eos.json``
(read them with :func:`load_gpaw_eos`); computing them again takes about half an hour on one core.
Units are those of ASE: eV, Angstrom, GPa, N/m, mu_B.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import ase.build
from ase import Atoms
from ase.formula import Formula

from deepchem_xc._files import data_file, write_json
from deepchem_xc.eos.scales import VOLUME_SCALES


@dataclass(frozen=True)
class GpawSettings:
    """One crystal and the settings of its calculation with GPAW.

    Attributes
    ----------
    structure
        A crystal structure of `ase.build.bulk`: ``"fcc"``, ``"bcc"``, ``"diamond"``,
        ``"rocksalt"``, ``"zincblende"``, ``"fluorite"``, ``"hcp"``; or one of :data:`LAYERED`,
        whose height is kept while the area changes: a honeycomb layer (``"graphene"``), a layer of
        three planes like MoS2 (``"2H"``), or a crystal of honeycomb layers (``"h-BN"``).
    symbol
        Chemical symbol, or the formula of a compound.
    a
        Lattice constant (Angstrom) at scale 1.
    ecut
        Plane-wave cutoff (eV).
    kpts
        Gamma-centred mesh.
    gpts
        Real-space grid, the same at every volume: a grid chosen for each cell would change within
        the curve, with a jump in the energy (0.12 meV for graphene).
    nbands
        Number of bands. It is always given: GPAW's default is limited by the number of bound
        partial waves and leaves fcc Ca without an empty band, with an energy tens of meV too high.
    magmom
        Initial moment per atom (mu_B); zero computes without spin polarisation.
    width
        Fermi-Dirac width (eV).
    vacuum
        Distance (Angstrom) from a layer to its next image.
    c
        Height of the cell (Angstrom): of ``"hcp"`` at scale 1, of ``"h-BN"`` at any.
    thickness
        Distance (Angstrom) between the outer planes of ``"2H"``.
    """

    structure: Literal[
        "fcc",
        "bcc",
        "diamond",
        "rocksalt",
        "zincblende",
        "fluorite",
        "hcp",
        "graphene",
        "2H",
        "h-BN",
    ]
    symbol: str
    a: float
    ecut: float
    kpts: tuple[int, int, int]
    gpts: tuple[int, int, int]
    nbands: int
    magmom: float = 0.0
    width: float = 0.1
    vacuum: float | None = None
    c: float | None = None
    thickness: float | None = None

    @property
    def layered(self) -> bool:
        """Whether the area changes at constant height, not the volume at constant shape."""
        return self.structure in LAYERED

    def record(self) -> dict[str, Any]:
        """The settings as JSON gives them back; lengths that a structure lacks are left out."""
        values = asdict(self)
        for name in ("c", "thickness"):
            if values[name] is None:
                del values[name]
        plain: dict[str, Any] = json.loads(json.dumps(values))
        return plain

    def atoms(self, scale: float = 1.0) -> Atoms:
        """Return the primitive cell with its volume (area, for a layer) times ``scale``.

        Examples
        --------
        >>> layer = GPAW_SETTINGS["graphene"]
        >>> ratio = layer.atoms(1.06).get_volume() / layer.atoms().get_volume()
        >>> print(f"{ratio:.6f}")
        1.060000
        """
        # ASE's `vacuum` is the distance on either side.
        half = (self.vacuum or 0.0) / 2
        wide, long = self.a * scale**0.5, self.a * scale ** (1 / 3)
        if self.structure == "graphene":
            pair = self.symbol if len(Formula(self.symbol).count()) == 2 else f"{self.symbol}2"
            atoms = ase.build.graphene(pair, a=wide, vacuum=half)
        elif self.structure == "2H":
            atoms = ase.build.mx2(self.symbol, "2H", wide, thickness=self.thickness, vacuum=half)
        elif self.structure == "h-BN":
            below, above = (1 / 3, 2 / 3), (2 / 3, 1 / 3)
            positions = [(*below, 0.25), (*above, 0.25), (*above, 0.75), (*below, 0.75)]
            atoms = Atoms(
                list(Formula(self.symbol)) * 2,
                cell=(wide, wide, self.c, 90, 90, 120),
                scaled_positions=positions,
            )
        else:
            c = None if self.c is None else self.c * scale ** (1 / 3)
            atoms = ase.build.bulk(self.symbol, self.structure, a=long, c=c)
        atoms.pbc = True
        if self.magmom:
            atoms.set_initial_magnetic_moments([self.magmom] * len(atoms))
        return atoms


#: Structures whose area changes at constant height: layers do not hold together with PBE, so that
#: the volume says nothing about them.
LAYERED = ("graphene", "2H", "h-BN")

#: Settings of the reference in ``data``; ``data/README.md`` shows how well they are converged.
GPAW_SETTINGS: Mapping[str, GpawSettings] = {
    "Al": GpawSettings(
        "fcc", "Al", a=4.04, ecut=600, kpts=(24, 24, 24), gpts=(18, 18, 18), nbands=4
    ),
    "Ca": GpawSettings(
        "fcc", "Ca", a=5.527, ecut=700, kpts=(20, 20, 20), gpts=(25, 25, 25), nbands=12
    ),
    "graphene": GpawSettings(
        "graphene",
        "C",
        a=2.467,
        ecut=800,
        kpts=(24, 24, 1),
        gpts=(18, 18, 98),
        nbands=10,
        vacuum=15.0,
    ),
    "Ni": GpawSettings(
        "fcc",
        "Ni",
        a=3.52,
        ecut=800,
        kpts=(16, 16, 16),
        gpts=(18, 18, 18),
        nbands=12,
        magmom=0.7,
    ),
}


def load_gpaw_eos(path: str | Path | None = None) -> dict[str, Any]:
    """Read equations of state written by :func:`run_gpaw_eos`.

    Parameters
    ----------
    path
        File to read; by default the reference that comes with the project.

    Returns
    -------
    dict
        ``{system: {"settings", "versions", "points", "fit"}}``; ``points`` is a list of
        ``scale``, ``volume`` (Angstrom^3), ``area`` (Angstrom^2, layers only), ``energy`` (eV,
        extrapolated to zero width), ``free_energy`` (eV), ``magmom`` (mu_B per cell), ``steps``
        of the SCF, ``irreducible_kpoints``, ``seconds`` and ``cpu_seconds``; ``fit`` holds, for
        ``"energy"`` and ``"free_energy"`` separately, ``a`` (Angstrom), ``minimum`` and
        ``residual`` (root mean square) in eV, and ``volume`` (Angstrom^3) with ``bulk_modulus``
        (GPa) or ``area`` (Angstrom^2) with ``layer_modulus`` (A d2E/dA2, N/m).

    Examples
    --------
    >>> fit = load_gpaw_eos()["Al"]["fit"]["energy"]
    >>> print(f"{fit['a']:.3f} Angstrom, {fit['bulk_modulus']:.0f} GPa")
    4.042 Angstrom, 77 GPa
    """
    path = data_file("gpaw_eos.json") if path is None else Path(path)
    try:
        results: dict[str, Any] = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is not a file of GPAW results ({error}); remove it and run again"
        ) from error
    return results


def _fit(a: float, points: Sequence[Mapping[str, Any]], energy: str) -> dict[str, float]:
    """Fit energies of cells whose lattice constant at scale 1 is ``a`` (Angstrom)."""
    # Imports torch, which neither the settings nor the stored results need.
    from deepchem_xc.eos.fits import fit_equation_of_state

    energies = [point[energy] for point in points]
    size, modulus, dimension = "volume", "bulk_modulus", 3
    if "area" in points[0]:
        size, modulus, dimension = "area", "layer_modulus", 2
    fit = fit_equation_of_state([point[size] for point in points], energies, dimension=dimension)
    return {
        "a": a * (fit.size * points[0]["scale"] / points[0][size]) ** (1 / dimension),
        size: fit.size,
        modulus: fit.modulus,
        "minimum": fit.energy,
        "residual": fit.residual,
    }


def require_gpaw() -> None:
    """Raise ImportError, which says what to do, if GPAW is not installed."""
    if find_spec("gpaw") is None:
        raise ImportError("GPAW is not installed; in a checkout, 'make gpaw' compiles it")


def run_gpaw_eos(
    systems: Iterable[str] = tuple(GPAW_SETTINGS),
    settings: Mapping[str, GpawSettings] | None = None,
    path: str | Path = "gpaw_eos.json",
    on_point: Callable[[str, dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Compute equations of state with GPAW, resuming where an earlier run stopped.

    Parameters
    ----------
    systems
        Names of the systems to compute, in this order.
    settings
        Settings by name; by default :data:`GPAW_SETTINGS`.
    path
        Results file, rewritten after every point. Points that it has with the same settings and
        versions are kept; other systems in it are left alone.
    on_point
        Called with the system's name and the point (see :func:`load_gpaw_eos`) for each point,
        including those that were kept.

    Returns
    -------
    dict
        The content of the file, see :func:`load_gpaw_eos`.

    Raises
    ------
    ValueError
        If a name is not among the settings, or the file is of another kind.
    ImportError
        If GPAW is not installed.
    gpaw.KohnShamConvergenceError
        If a calculation does not converge.

    Notes
    -----
    GPAW runs faster with one thread: set ``OMP_NUM_THREADS=1``.
    """
    settings = GPAW_SETTINGS if settings is None else settings
    systems = list(systems)
    unknown = [name for name in systems if name not in settings]
    if unknown:
        raise ValueError(f"unknown systems {unknown}; there are settings for {list(settings)}")
    require_gpaw()
    path = Path(path)
    results = load_gpaw_eos(path) if path.exists() else {}
    versions = {name: version(name) for name in ("gpaw", "gpaw-data", "ase", "numpy")}

    for name in systems:
        used = {"xc": "PBE", **settings[name].record()}
        entry = results.get(name, {})
        if entry.get("settings") != used or entry.get("versions") != versions:
            entry = {"settings": used, "versions": versions, "points": []}
        done = {point["scale"]: point for point in entry["points"]}
        for scale in VOLUME_SCALES:
            if scale not in done:
                done[scale] = _gpaw_point(settings[name], scale)
                entry["points"] = [done[s] for s in VOLUME_SCALES if s in done]
                results[name] = entry
                write_json(path, results)
            if on_point is not None:
                on_point(name, done[scale])
        if "fit" not in entry:
            entry["fit"] = {
                energy: _fit(settings[name].a, entry["points"], energy)
                for energy in ("energy", "free_energy")
            }
            write_json(path, results)
    return results


def _gpaw_point(settings: GpawSettings, scale: float) -> dict[str, Any]:
    from gpaw import GPAW, PW, FermiDirac

    atoms = settings.atoms(scale)
    wall, cpu = time.perf_counter(), time.process_time()
    atoms.calc = GPAW(
        mode=PW(settings.ecut),
        xc="PBE",
        kpts={"size": settings.kpts, "gamma": True},
        gpts=settings.gpts,
        nbands=settings.nbands,
        occupations=FermiDirac(settings.width),
        convergence={"energy": 1e-6, "density": 1e-6},
        txt=None,
    )
    point: dict[str, Any] = {"scale": scale, "volume": float(atoms.get_volume())}
    if settings.layered:
        point["area"] = point["volume"] / float(atoms.cell[2, 2])
    point["energy"] = float(atoms.get_potential_energy())
    point["free_energy"] = float(atoms.get_potential_energy(force_consistent=True))
    point["magmom"] = float(atoms.get_magnetic_moment()) if settings.magmom else 0.0
    point["steps"] = int(atoms.calc.get_number_of_iterations())
    point["irreducible_kpoints"] = len(atoms.calc.get_ibz_k_points())
    point["seconds"] = round(time.perf_counter() - wall, 2)
    point["cpu_seconds"] = round(time.process_time() - cpu, 2)
    return point
