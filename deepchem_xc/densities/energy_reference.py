"""Free energies of records, to be compared in a training with those of a network's densities."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from deepchem_xc.densities.predictor import DensityPredictor
from deepchem_xc.planewave import DensityRecord, KPoints, PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.fixed_density.fixed import FixedDensity
from deepchem_xc.planewave.fixed_density.outcome import at_given_density
from deepchem_xc.planewave.given_density import NegativeDensityWarning, UnsymmetricDensityError
from deepchem_xc.planewave.inputs import make_problem
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.record.carried_orbitals import carried_orbitals
from deepchem_xc.planewave.structure.kpoints import make_kpoints
from deepchem_xc.xc import get_xc
from deepchem_xc.xc.identity import content_digest

#: Largest residual of the states, Hartree.
_RESIDUAL = 1e-6
#: Difference of a record's free energy and the one at its density, Hartree per atom, above which
#: the calculation is another one than the record's.
_SAME = 1e-5
#: Largest difference of reduced coordinates of k-points that are the same.
_SAME_POINT = 1e-6


@dataclass(frozen=True, eq=False)
class EnergyReference:
    """The calculation of a record, in which the density of a network gets a free energy.

    Attributes
    ----------
    problem : KohnShamProblem
        Structure, plane waves, k-points, smearing and functional of the record.
    free_energy : float
        The record's, Hartree per cell.
    orbitals : Tensor or None
        The record's, from which states are computed faster.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.densities import AtomDensityNetwork, DensityPredictor
    >>> from deepchem_xc.planewave import DensityRecord, scf
    >>> record = DensityRecord.of(scf(bulk("Si"), "PBE", ecut=100.0, kpts=(1, 1, 1)))
    >>> predictor = DensityPredictor(AtomDensityNetwork({"Si": 4}, channels=4, l_max=1), "gth-pbe")
    >>> reference = EnergyReference.of(predictor, record)
    >>> error = reference.error(predictor)  # Hartree per atom
    >>> error.backward()
    """

    problem: KohnShamProblem
    free_energy: float
    orbitals: Tensor | None = None

    @classmethod
    def of(
        cls, predictor: DensityPredictor, record: DensityRecord, functional: Any = None
    ) -> EnergyReference:
        """The calculation that a record is of, tested with the record's own density.

        Parameters
        ----------
        predictor : DensityPredictor
            Its potentials are used.
        record : DensityRecord
            With a free energy, and the settings of its calculation.
        functional : str or XCFunctional, optional
            The functional of the densities; the predictor's, by its name.

        Raises
        ------
        ValueError
            For a record without a free energy or settings, of another code, or with a free energy
            that this functional and these settings do not give.
        """
        predictor.check_calculations()
        predictor.check_record(record)
        missing = [
            name
            for name in ("free_energy", "ecut", "k_coordinates", "k_weights", "smearing")
            if getattr(record, name) is None
        ]
        if missing:
            raise ValueError(
                f"a record has no {', '.join(missing)}, which a "
                "training on energies needs: DensityRecord.of(result) of a converged calculation "
                "keeps all; a record at another cutoff has none. Without energies: energy_weight=0."
            )
        name = predictor.functional if functional is None else functional
        assert name is not None  # check_calculations refused what has none
        chosen = copy.deepcopy(get_xc(name))
        chosen.requires_grad_(False)
        if record.functional_digest not in (None, content_digest(chosen)):
            raise ValueError(
                f"a record was computed with another functional than {chosen.name} as it is now: "
                "give the model the functional of its records, functional=..."
            )
        device = next(predictor.network.parameters()).device
        record, chosen = replace(record, crystal=record.crystal.to(device)), chosen.to(device)
        try:
            found = cls._with_symmetry(predictor, record, chosen, None)
        except UnsymmetricDensityError:
            symmetry = {"point_group": False}
            found = cls._with_symmetry(predictor, record, chosen, symmetry)
        return found

    @classmethod
    def _with_symmetry(
        cls, predictor: DensityPredictor, record: DensityRecord, functional: Any, symmetry: Any
    ) -> EnergyReference:
        """The reference, if its calculation gives the record's energy at the record's density."""
        problem = _problem_of(predictor, record, functional, symmetry)
        orbitals = carried_orbitals(problem, record.orbitals)
        assert record.free_energy is not None
        found = cls(problem, record.free_energy, orbitals)
        error = float(found.free_energy_at(record)) - record.free_energy
        natom = record.crystal.natom
        if not abs(error) < _SAME * natom:
            raise ValueError(
                f"the free energy at a record's own density is {error / natom:.1e} Ha/atom away "
                "from the record's: it was not computed with these settings, or was not "
                "converged. Compute it again, or train without energies (energy_weight=0)."
            )
        return found

    def free_energy_at(self, source: Any) -> Tensor:
        """Harris-Foulkes free energy of a source's density, 0-d, Hartree per cell.

        Parameters
        ----------
        source : DensitySource
            A record or a model.
        """
        with warnings.catch_warnings():
            # The densities of a new network often are.
            warnings.simplefilter("ignore", NegativeDensityWarning)
            given = FixedDensity.of(self.problem, source)
        result = at_given_density(self.problem, given, _RESIDUAL, orbitals=self.orbitals)
        return result.free_energy

    def error(self, predictor: DensityPredictor) -> Tensor:
        """Free energy of the network's density less the record's, 0-d, Hartree per atom.

        It is in the graph of the network's parameters where gradients are enabled, and of second
        order in the error of the density.
        """
        found = self.free_energy_at(_InGraph(predictor))
        return (found - self.free_energy) / self.problem.basis.crystal.natom


class _InGraph:
    """The predictor as a source whose densities are in the graph of its network's parameters."""

    def __init__(self, predictor: DensityPredictor) -> None:
        self._predictor, self.functional = predictor, predictor.functional

    def density_for(self, problem: KohnShamProblem) -> Fields:
        predictor = self._predictor
        before, predictor.parameter_gradients = predictor.parameter_gradients, True
        try:
            return predictor.density_for(problem)
        finally:
            predictor.parameter_gradients = before


def energy_loss(
    predictor: DensityPredictor,
    references: Sequence[EnergyReference],
    weights: str,
    factors: Sequence[float],
) -> Tensor:
    """Mean absolute error of the free energy per atom of a batch, 0-d, Hartree.

    Parameters
    ----------
    predictor : DensityPredictor
        The network.
    references : sequence of EnergyReference
        What its free energies should be.
    weights : {"electrons", "equal"}
        As for `DensityLoss`: structures count by their electrons, or alike.
    factors : sequence of float
        Further weight of each structure; those of weight 0 are not computed.
    """
    counts = [
        factor * (one.problem.nelectrons if weights == "electrons" else 1.0)
        for one, factor in zip(references, factors, strict=True)
    ]
    errors = [
        count * one.error(predictor).abs()
        for one, count in zip(references, counts, strict=True)
        if count > 0.0
    ]
    return torch.stack(errors).sum() / sum(counts)


def _problem_of(
    predictor: DensityPredictor, record: DensityRecord, functional: Any, symmetry: Any
) -> KohnShamProblem:
    assert record.ecut is not None and record.smearing is not None
    basis = PlaneWaveBasis(
        record.crystal,
        record.ecut,
        _kpoints_of(record, symmetry),
        fft_size=record.fft_size,
        ecut_smoothing=record.ecut_smoothing or 0.0,
    )
    occupations = dict(record.smearing)
    if record.fixed_moment is not None:
        occupations["fixmagmom"] = True
    problem = make_problem(
        basis, functional, predictor.pseudopotentials, occupations, record.nspin == 2
    )
    return replace(problem, moment=record.fixed_moment)


def _kpoints_of(record: DensityRecord, symmetry: Any) -> KPoints:
    """The record's k-points with the symmetry by which they represent the zone."""
    assert record.k_coordinates is not None and record.k_weights is not None
    if record.k_mesh is None:
        spec = {"kpts": record.k_coordinates.tolist(), "weights": record.k_weights.tolist()}
        return make_kpoints(spec, record.crystal)
    # Records hold the divisions of the mesh; its irreducible points tell whether Gamma is in it.
    wanted = record.k_coordinates.cpu()
    for gamma in (None, True, False):
        mesh = {"size": record.k_mesh, "gamma": gamma}
        every = make_kpoints(mesh, record.crystal, symmetry=False).coordinates.cpu()
        apart = wanted[:, None] - every[None]
        apart = (apart - apart.round()).abs().amax(-1)
        if bool((apart.amin(1) < _SAME_POINT).all()):
            return make_kpoints(mesh, record.crystal, symmetry=symmetry)
    raise ValueError(
        f"a record's k-points are not those of a {' x '.join(map(str, record.k_mesh))} mesh: "
        "compute it again, or train without energies (energy_weight=0)."
    )
