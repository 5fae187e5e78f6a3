"""`OtherCodePredictor`: a network for the densities of another code, without our atoms."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor

from deepchem_xc import __version__
from deepchem_xc._modes import outside_inference_and_autocast
from deepchem_xc.densities.initial_moments import with_moments
from deepchem_xc.densities.network import DensityNetwork
from deepchem_xc.densities.predictor import DensityPredictor, check_cutoff, unpolarised
from deepchem_xc.planewave import Crystal, DensityRecord, PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.problem import KohnShamProblem

_READ = "read_density(path, superposition=other_path).record()"


class OtherCodePredictor(DensityPredictor):
    """Total densities of another code, from a network that was trained on that code's records.

    The electrons of its elements are those of the code's files, and it has neither potentials nor
    atoms. A network for the difference needs the code's own superposition of atoms of every
    structure: it takes records that have one. Calculations of this package refuse it.

    Parameters
    ----------
    network : DensityNetwork
        Its `valences` name the elements and their electrons in the code's files.
    other_code : str
        As `DensityRecord.other_code` has it, such as "chgcar"; not case-sensitive.
    functional : str, optional
        Name of the functional, where all densities are of one; files do not say.

    Attributes
    ----------
    network, functional, parameter_gradients
        As for `DensityPredictor`; the functional may be None.
    other_code : str
        The other code.
    potentials, atoms : dict
        Empty.

    Raises
    ------
    ValueError
        For an empty name of the code.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.densities import AtomDensityNetwork, OtherCodePredictor
    >>> network = AtomDensityNetwork({"U": 14}, "total", channels=4, l_max=1)
    >>> record = OtherCodePredictor(network, "CHGCAR").record(bulk("U", "fcc", 4.5), ecut=50.0)
    >>> print(f"{record.nelectrons:.9f} {record.other_code} {record.potentials}")
    14.000000000 chgcar None
    """

    _ELECTRONS_ADVICE = (
        "give the model the electrons that each element has in these files (VASP's ZVAL, or the "
        "atomic number in all-electron files), and read a density whose grid has lost some by "
        "read_density(path, electrons=...)."
    )

    def __init__(
        self, network: DensityNetwork, other_code: str, functional: str | None = None
    ) -> None:
        # Not that of the base, which loads potentials.
        if not isinstance(other_code, str) or not other_code.strip():
            raise ValueError(
                "other_code must name the other code as its records do (record.other_code), such "
                f"as 'chgcar', 'cube' or 'gpaw'; got {other_code!r}."
            )
        self.network, self.other_code = network, other_code.strip().lower()
        self.functional = None if functional is None else str(functional)
        self.parameter_gradients = False
        self.pseudopotentials, self.potentials, self.atoms = {}, {}, {}

    def density_for(self, problem: KohnShamProblem) -> NoReturn:
        """Refuse calculations: see `check_calculations`."""
        self.check_calculations()
        raise AssertionError("check_calculations returned")

    def check_calculations(self) -> None:
        """Raise ValueError: its electrons belong to another code's potentials."""
        raise ValueError(
            f"the density model was made for densities of another code ({self.other_code}): its "
            "electrons belong to that code's potentials and cores, which calculations and free "
            "energies of this package do not have. Give a model that was trained on densities "
            "that were computed here, or start from atoms (start=None)."
        )

    @outside_inference_and_autocast()
    def record(
        self, structure: Any, ecut: float | None = None, fft_size: Any = None
    ) -> DensityRecord:
        """Record of the predicted density of a structure.

        Parameters
        ----------
        structure : DensityRecord, or for the target "total" any structure
            For differences a record with the code's superposition, to which the network's output
            is added.
        ecut, fft_size : optional
            As for `DensityPredictor.record`; for differences not above the record's cutoff.

        Returns
        -------
        DensityRecord
            Of the same code, without potentials, and for differences with the superposition.

        Raises
        ------
        ValueError
            As `DensityPredictor.record`, and for a difference without the code's superposition.
        """
        given = structure if isinstance(structure, DensityRecord) else None
        if given is not None:
            self._check_code(given)
        elif self.target == "difference":
            raise ValueError(
                "the model predicts differences from the superposition of another code's atoms "
                f"({self.other_code}), which a structure alone does not have: let that code write "
                f"the superposition of this structure, and give the record {_READ} (both paths may "
                "be the superposition's). A model with target='total' takes structures alone."
            )
        crystal, basis, nspin = self._asked(structure, ecut, fft_size)
        atoms = None
        if self.target == "difference":
            assert given is not None
            self._check_atoms(given)
            atoms = self.superposition_of(basis, nspin, given)
        with torch.no_grad():
            density = self._output(self.seen(basis, nspin), nspin)
        density = density if atoms is None else unpolarised(atoms) + density
        functional = self.functional
        if functional is None and given is not None:
            functional = given.functional
        notes = f"predicted by a model ({self.target})"
        return self._of_code(crystal, basis, density, notes, functional, atoms)

    def superposed(self, record: DensityRecord) -> DensityRecord:
        """Record of the superposition that came with a record.

        Parameters
        ----------
        record : DensityRecord
            Of the same code, with a superposition.
        """
        self.check_record(record)
        self._check_superposition(record)
        basis = self.basis_of(record)
        atoms = self.superposition_of(basis, record.nspin, record)
        return self._of_code(
            record.crystal, basis, atoms, "superposed atoms", record.functional, atoms
        )

    def _of_code(
        self,
        crystal: Crystal,
        basis: PlaneWaveBasis,
        density: Tensor,
        notes: str,
        functional: str | None,
        atoms: Tensor | None,
    ) -> DensityRecord:
        return DensityRecord(
            crystal,
            basis.g_vectors.cpu(),
            Fields(density.cpu()),
            notes=notes,
            functional=functional,
            ecut=basis.ecut,
            fft_size=basis.fft_size,
            version=__version__,
            other_code=self.other_code,
            superposition_fields=None if atoms is None else Fields(atoms.cpu()),
        )

    def seen(self, basis: PlaneWaveBasis, nspin: int) -> PlaneWaveBasis:
        """The same plane waves; moments are not limited to any atom's."""
        if nspin == 2 or basis.crystal.magnetic_moments is None:
            return basis
        return with_moments(basis, None)

    def superposition_of(
        self, basis: PlaneWaveBasis, nspin: int, record: DensityRecord | None = None
    ) -> Tensor:
        """The superposition that came with a record, (nspin, nG), bohr^-3."""
        assert record is not None
        check_cutoff(record, basis.ecut)
        atoms = _superposition_in(record.on(basis)).detach().to(basis.device)
        if len(atoms) == nspin:
            return atoms
        # Without spin both channels are alike.
        return 0.5 * torch.cat([atoms, atoms])

    def _check_code(self, record: DensityRecord) -> None:
        found = record.other_code
        if found is None or found.lower() != self.other_code:
            whose = "was computed by this package" if found is None else f"is of {found!r}"
            other = "without other_code" if found is None else f"with other_code={found!r}"
            raise ValueError(
                f"a record {whose}, but the model is for densities of {self.other_code!r}: give it "
                f"records that {_READ} made of that code's files, or make a model {other}."
            )

    def _check_atoms(self, record: DensityRecord) -> None:
        """Refuse records without a cutoff or, for differences, a superposition that fits."""
        if record.ecut is None:
            raise ValueError(
                "a record of another code does not say its cutoff (ecut): make it again by "
                f"{_READ}."
            )
        if self.target == "difference":
            self._check_superposition(record)

    def _check_superposition(self, record: DensityRecord) -> None:
        atoms = _superposition_in(record)
        if atoms.shape != record.fields.density.shape:
            raise ValueError(
                f"a record's superposition has the shape {tuple(atoms.shape)}, but its density "
                f"{tuple(record.fields.density.shape)}: make it again by {_READ}."
            )
        self._check_density(record, atoms, "superposition")


def _superposition_in(record: DensityRecord) -> Tensor:
    """Coefficients of the superposition that came with a record, or ValueError."""
    if record.superposition_fields is None:
        raise ValueError(
            f"a record has no superposition of its own code's atoms ({record.other_code}), which "
            "the difference needs (atoms of this package are never subtracted from another code's "
            f"density): {_READ} reads both files, and a model with target='total' does without."
        )
    return record.superposition_fields.density


def predictor_for(
    network: DensityNetwork,
    pseudopotentials: Any,
    functional: str | None,
    other_code: str | None,
) -> DensityPredictor:
    """A predictor of densities of this package (PBE by default), or of another code's.

    Parameters
    ----------
    network : DensityNetwork
        The network.
    pseudopotentials : object
        As for `DensityPredictor`; not used for another code.
    functional : str or None
        Name of the functional.
    other_code : str or None
        The other code.

    Examples
    --------
    >>> from deepchem_xc.densities import AtomDensityNetwork
    >>> network = AtomDensityNetwork({"Si": 4}, channels=4, l_max=1)
    >>> predictor_for(network, "gth-pbe", None, None).functional
    'PBE'
    """
    if other_code is None:
        return DensityPredictor(
            network, pseudopotentials, "PBE" if functional is None else functional
        )
    return OtherCodePredictor(network, other_code, functional)
