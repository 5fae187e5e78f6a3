"""`PlaneWaveDFT`: the plane-wave solver as an ASE calculator."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import (
    Calculator,
    Parameters,
    PropertyNotImplementedError,
    PropertyNotPresent,
    all_changes,
)
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import Bohr, Hartree

from deepchem_xc._modes import outside_inference_and_autocast
from deepchem_xc._signatures import documents_keywords_of
from deepchem_xc.calculators.settings import (
    OBJECTS,
    SavedCalculation,
    changed_files,
    check_objects,
    copied,
    file_digests,
    has_other_datasets,
    identity_of,
    is_plain,
    is_unchanged,
    plain,
    with_absolute_files,
)
from deepchem_xc.calculators.states import ElectronicStates
from deepchem_xc.calculators.text_log import TextLog
from deepchem_xc.keywords import standard
from deepchem_xc.numerics.errors import SCFConvergenceError
from deepchem_xc.planewave.assembly import Setup, set_up
from deepchem_xc.planewave.given_density import UnsymmetricDensityError
from deepchem_xc.planewave.ground_state import scf
from deepchem_xc.planewave.observables.dipole import UndefinedDipoleError
from deepchem_xc.planewave.other_keywords import explain_unknown
from deepchem_xc.planewave.record import DensityRecord, density_source
from deepchem_xc.planewave.record.moments import moments_of
from deepchem_xc.planewave.record.starting_point import StartingPoint, starting_point
from deepchem_xc.planewave.settings import Settings
from deepchem_xc.planewave.structure.kept_symmetry import operations_that_keep
from deepchem_xc.planewave.values import with_defaults

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from deepchem_xc.planewave.problem import KohnShamProblem
    from deepchem_xc.planewave.result import SCFResult
    from deepchem_xc.xc.identity import Identity

# Largest displacement of an atom, Angstrom, up to which an earlier density is a good start.
_FAR = 0.5
# Largest component of the strain up to which it is.
_STRAINED = 0.15


@documents_keywords_of(scf, [name for name in Settings.model_fields if name != "convergence"])
class PlaneWaveDFT(ElectronicStates, Calculator):
    """Plane-wave Kohn-Sham DFT for ASE.

    Energies are in eV, lengths in Angstrom, moments in mu_B. ``get_potential_energy()`` is the
    energy extrapolated to zero smearing width and ``get_potential_energy(force_consistent=True)``
    the free energy, from which forces and stress are derived. The stress is that of a fixed set of
    plane waves. ``get_magnetic_moments()`` returns `SCFResult.atom_moments`: Hirshfeld's, which
    add up to ``get_magnetic_moment()``, or with PAW those inside of the spheres, as GPAW.
    ``get_dipole_moment()`` (e Angstrom) is defined for molecules in a
    box, and for slabs along their normal: components along directions that electrons fill are NaN,
    and bulk crystals raise ``PropertyNotImplementedError``.

    After small changes of positions or cell the next calculation starts from the density, and if
    possible the orbitals, of the last one; after large changes, or with other initial magnetic
    moments, it starts from ``start=``, or else from atoms. A new ``start`` replaces the last state.

    None selects the default of every keyword except ``ecut``, which has none.

    Parameters
    ----------
    restart : str or path, optional
        File written by `write`: settings, atoms, results and density. Other keywords replace
        settings in the file. Results are dropped if settings, or the content of files of
        functionals and pseudopotentials, have changed; the density remains as a start.
    atoms : ase.Atoms, optional
        Atoms to attach the calculator to.
    xc : str or XCFunctional
        A name (``"PBE"``, the default), libxc identifiers, the path of a functional's file, or a
        functional (a torch module). If the parameters of a module, or the content of the file,
        change, results are computed again.
    convergence : dict
        ``energy`` (change in a step, eV per valence electron; 1e-6 by default), ``density``
        (integrated error, electrons per valence electron; 1e-6, or 1e-7 if the functional has
        parameters that require gradients), ``orbitals`` (residuals of occupied bands, eV; 10 times
        ``density`` in Hartree) and ``maxiter`` (100).
    **keywords
        All others of `planewave.scf`: ``ecut`` (eV), which has no default, ``kpts``,
        ``pseudopotentials``, ``occupations``, ...
    txt : None, "-", path or text file
        Destination of the text log: none, the standard output, or a file.

    Raises
    ------
    TypeError
        For an unknown keyword.
    SCFConvergenceError
        If a calculation does not converge; there are then no results.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.calculators import PlaneWaveDFT
    >>> atoms = bulk("Si")
    >>> atoms.calc = PlaneWaveDFT(ecut=200.0, kpts=(2, 2, 2))
    >>> print(f"{atoms.get_potential_energy():.1f} eV")
    -213.7 eV
    >>> sorted(atoms.calc.scf_result.energies)
    ['core', 'entropy', 'ewald', 'free', 'hartree', 'kinetic', 'local', 'nonlocal', 'total', 'xc']
    """

    implemented_properties = [
        *("energy", "free_energy", "forces", "stress", "magmom", "magmoms", "dipole")
    ]
    # Other codes start from these charges of atoms; here atoms are neutral.
    ignored_changes = {"initial_charges"}
    default_parameters: dict[str, Any] = {
        "xc": "PBE",
        **{name: standard(name) for name in Settings.model_fields},
        "convergence": {"energy": 1e-6, "maxiter": 100},
        "txt": None,
    }

    def __init__(
        self,
        restart: str | os.PathLike[str] | None = None,
        *,
        atoms: Atoms | None = None,
        **keywords: Any,
    ) -> None:
        self._result: SCFResult | None = None
        self._start: DensityRecord | None = None
        self._functional: Identity | None = None
        # Digests of the files of functional and pseudopotentials in the last calculation.
        self._files: dict[str, str] = {}
        # Settings that were objects when the calculator was written, so that its file lacks them.
        self._missing: frozenset[str] = frozenset()
        self._log = TextLog(None)
        if restart is not None and not isinstance(restart, (str, os.PathLike)):
            raise TypeError(
                f"restart, the first argument, must be a file from write(), got {restart!r}; give "
                "all settings by name: PlaneWaveDFT(ecut=400.0, xc='PBE')."
            )
        super().__init__(restart=restart, atoms=atoms, **keywords)

    # -- settings -----------------------------------------------------------------------------

    def set(self, **keywords: Any) -> dict[str, Any]:
        """Change settings; this drops results but keeps the density as a start.

        Dictionaries, lists and arrays are copied: changing them later does not change settings.

        Raises
        ------
        TypeError
            For an unknown keyword; the message lists the valid ones.
        """
        unknown = sorted(set(keywords) - set(self.default_parameters))
        if unknown:
            raise TypeError(explain_unknown(unknown, self.default_parameters))
        log = TextLog(keywords["txt"]) if "txt" in keywords else self._log
        given = {name: copied(value) for name, value in keywords.items()}
        changed: dict[str, Any] = super().set(**given)
        if "txt" in changed:
            self._log = log
        if set(changed) - {"txt"}:
            atoms = self.atoms
            self.reset()
            self.atoms = atoms
        if "start" in changed:
            self._start = None
        return changed

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Settings for a database; objects are represented by their names."""
        settings = super().todict(skip_default)
        return {key: copied(plain(value)) for key, value in settings.items() if key != "txt"}

    def reset(self) -> None:
        """Drop results, but keep the density as the start of the next calculation."""
        if self._result is not None:
            self._start = DensityRecord.of(self._result, results=False)
        self._result = None
        super().reset()

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Names of changes since the last calculation: of atoms, the functional, or files."""
        changes = list(super().check_state(atoms, tol))
        if not is_unchanged(self.parameters["xc"], self._functional):
            changes.append("xc")
        return changes + changed_files(self.parameters, self._files)

    # -- results ------------------------------------------------------------------------------

    @property
    def scf_result(self) -> SCFResult:
        """The converged ground state, in Hartree atomic units.

        After reading a file, the first access repeats the calculation from the file's density.

        Raises
        ------
        ase.calculators.calculator.PropertyNotPresent
            If there is no calculation yet, or the last one failed.
        """
        if self._result is None:
            if self.atoms is None or not self.results:
                raise PropertyNotPresent(
                    "there is no converged calculation: call atoms.get_potential_energy() first."
                )
            self._converge()
        assert self._result is not None
        return self._result

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """One of `implemented_properties`, computed if necessary; see ASE."""
        if atoms is None and self.atoms is None:
            raise PropertyNotPresent(
                f"{name!r} cannot be computed without atoms: give them, or call "
                f"atoms.get_{'potential_energy' if 'energy' in name else name}()."
            )
        # Without atoms ASE does not look for changes, but the functional may have changed.
        return super().get_property(name, self.atoms if atoms is None else atoms, allow_calculation)

    @outside_inference_and_autocast()
    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute `properties`; forces and stress are computed together; see ASE."""
        if system_changes:
            known = self.atoms
            self.reset()
            self.atoms = known
        super().calculate(atoms, properties, system_changes)
        if self._result is None:
            self._converge()
        if "forces" in properties or "stress" in properties:
            self._add_forces(self.get_atoms(), self.scf_result.detach())
        if "dipole" in properties:
            self.results["dipole"] = self._dipole(self.scf_result.detach())

    def _converge(self) -> None:
        """Find the ground state of ``self.atoms``."""
        atoms, settings = self.atoms, self.parameters
        if atoms is None:
            raise PropertyNotPresent("nothing can be computed without atoms: give them.")
        self.results = {}
        check_objects(settings, self._missing)
        files = file_digests(settings)
        given = self._settings()
        setup, start, description = self._started(set_up(atoms, settings["xc"], given), given)
        self._log.header(atoms, setup.problem, description)
        functional = identity_of(settings["xc"])
        try:
            result = setup.solve(start, self._log.step)
        except SCFConvergenceError as error:
            # Do not start from the same density again: it did not converge.
            self._start = None
            self._log.failure(error)
            raise
        self._result, self._start = result, None
        self._functional, self._files = functional, files
        plain = result.detach()
        self._log.summary(plain)
        self.results = {
            "energy": float(plain.extrapolated_energy) * Hartree,
            "free_energy": float(plain.free_energy) * Hartree,
            "magmom": float(plain.magnetic_moment),
            "magmoms": plain.atom_moments.cpu().numpy(),
        }

    def _settings(self) -> Settings:
        """Keywords of the calculation; None stands for the calculator's default."""
        defaults, given = self.default_parameters, self.parameters
        keywords = {
            name: defaults[name] if given[name] is None else given[name]
            for name in Settings.model_fields
        }
        keywords["convergence"] = with_defaults(given["convergence"], defaults["convergence"])
        return Settings.of(keywords, "PlaneWaveDFT")

    def _started(self, setup: Setup, settings: Settings) -> tuple[Setup, StartingPoint | None, str]:
        """The calculation, its start, and the start in words.

        The calculator's own last state takes precedence over ``start=``, if it fits.
        """
        own = self._start
        if own is not None and _is_near(own, setup.problem) and _has_symmetry(own, setup.problem):
            try:
                found = starting_point(setup.problem, own)
            except UnsymmetricDensityError:
                pass  # the last atoms had less symmetry than these
            else:
                what = "density" if found.orbitals is None else "density and orbitals"
                return setup, found, _in_words(f"{what} of an earlier calculation", found)
        if settings.start is None:
            return setup, None, "superposed atoms"
        source = density_source(settings.start)
        setup, found = setup.started_from(source, settings)
        what = f"the density given by start=, a {type(source).__name__}"
        return setup, found, _in_words(what, found)

    @staticmethod
    def _dipole(result: SCFResult) -> NDArray[np.float64]:
        try:
            return np.asarray(result.dipole.cpu().numpy() * Bohr)
        except UndefinedDipoleError as error:
            # ASE expects this error for a property that a calculation does not have.
            raise PropertyNotImplementedError(str(error)) from error

    def _add_forces(self, atoms: Atoms, result: SCFResult) -> None:
        forces = result.forces.cpu().numpy() * (Hartree / Bohr)
        stress = result.stress.cpu().numpy() * (Hartree / Bohr**3)
        voigt = full_3x3_to_voigt_6_stress(stress)
        self.results.update(forces=forces, stress=voigt)
        self._log.forces(atoms, forces, voigt)

    # -- files --------------------------------------------------------------------------------

    def write(self, path: str | os.PathLike[str], orbitals: bool = False) -> None:
        """Write settings, atoms, results and the density (npz), for ``restart=``.

        Parameters
        ----------
        path : str or path
            File; an existing one is replaced only once the new one is complete.
        orbitals : bool, optional
            Write the orbitals too: a larger file, from which a calculation takes fewer steps.
        """
        result = self.scf_result
        settings = self.todict(skip_default=False)
        objects = {name: settings[name] for name in OBJECTS if not is_plain(self.parameters[name])}
        # The density in the file is the start of a calculation that reads it.
        left_out = (*objects, "device", "start")
        kept = {k: v for k, v in settings.items() if k not in left_out}
        kept = with_absolute_files(kept)
        saved = SavedCalculation(self.get_atoms(), kept, objects, self.results, self._files)
        DensityRecord.of(result, orbitals, saved.to_notes()).save(path)

    def read(self, path: str | os.PathLike[str]) -> None:
        """Read a file written by `write`.

        Results are dropped, and only atoms, settings and density are kept, if a functional or a
        pseudopotential was given as an object, which must then be given again, or if the content of
        a file of either, or of a PAW dataset, has changed.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        DamagedFileError
            If it is of another kind, or incomplete.
        """
        start = DensityRecord.load(path)
        saved = SavedCalculation.from_record(start, path)
        self._result, self._start = None, start
        self.parameters = Parameters({**self.get_default_parameters(), **saved.settings})
        self.parameters.update(dict.fromkeys(saved.objects))
        self._missing = frozenset(saved.objects)
        self.atoms = saved.atoms
        # Earlier versions did not keep digests of the files.
        self._files = file_digests(self.parameters) if saved.files is None else saved.files
        kind = self.parameters["pseudopotentials"]
        stale = (
            saved.objects
            or changed_files(self.parameters, self._files)
            or has_other_datasets(kind, saved.atoms.get_chemical_symbols(), start.potentials)
        )
        self.results = {} if stale else saved.results


def _in_words(what: str, start: StartingPoint) -> str:
    """A start and what was found of it, for the log."""
    return "; ".join((what, *start.report.remarks))


def _is_near(start: DensityRecord, problem: KohnShamProblem) -> bool:
    """Whether the earlier density is probably a better start than superposed atoms."""
    old, new = start.crystal, problem.basis.crystal
    if old.magnetic_moments != new.magnetic_moments:
        return False
    try:
        start.check_fits(problem)
    except ValueError:
        return False  # other atoms, or potentials with another number of electrons
    lattice = new.lattice.detach().cpu().numpy() * Bohr
    strain = np.linalg.solve(old.lattice.detach().cpu().numpy() * Bohr, lattice) - np.eye(3)
    moved = (new.positions.detach().cpu() - old.positions.detach().cpu()).numpy()
    moved = (moved - np.rint(moved)) @ lattice
    return bool(np.abs(strain).max() < _STRAINED and np.linalg.norm(moved, axis=1).max() < _FAR)


def _has_symmetry(start: DensityRecord, problem: KohnShamProblem) -> bool:
    """Whether the earlier magnetic moments have the symmetry that is used now."""
    symmetry = problem.basis.kpoints.symmetry
    moments = moments_of(problem, start) if problem.nspin == 2 and len(symmetry) > 1 else None
    if moments is None:
        return True
    return bool(operations_that_keep(moments, problem.basis.crystal, symmetry).all())
