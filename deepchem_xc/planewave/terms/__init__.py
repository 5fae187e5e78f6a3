"""The terms of the Kohn-Sham energy, one a file; `KohnShamProblem.terms` is the list of them.

The contract of a term (`base.py`)
----------------------------------
A term has a name and is one of three kinds: `IonTerm`, `DensityTerm`, `OrbitalTerm`.

* ``energy(basis, ...)`` returns a 0-d tensor in Hartree per cell. It is differentiable with respect
  to all its arguments *and* to ``basis.crystal.lattice`` and ``.positions``, at fixed orbital
  coefficients, occupations and number of electrons per G (``density * volume``). Forces, stress and
  the energies by name need nothing else from a term.
* ``potential(basis, fields)`` of a `DensityTerm` returns the functional derivative of that energy
  as a `Potential`, Hartree, and the energy minus the product of potential and density.

Densities are `Fields`, coefficients on the density sphere, (nspin, nG) in bohr^-3: one channel
holds the total density, two channels hold up and down. Orbitals are coefficients
(nspin, nk, nband, npw).
Each term's equations are plain functions beside its class.
"""
