"""The terms of the Kohn-Sham energy, one a file.

The contract of a term
----------------------
A term is a set of plain functions of a `PlaneWaveBasis` and what it acts on:

* ``..._energy(basis, ...)`` returns a 0-d tensor in Hartree per cell. It is differentiable with
  respect to everything it is given *and* to ``basis.crystal.lattice`` and ``.positions``, at fixed
  orbital coefficients, occupations and number of electrons per G (``density * volume``). Forces and
  stress need nothing else from a term.
* ``..._potential(basis, ...)`` returns the functional derivative of that energy with respect to the
  density as coefficients on the density sphere, (nG,) or (nspin, nG), Hartree.

Densities are given as coefficients on the density sphere, (nspin, nG) in bohr^-3: one channel holds
the total density, two channels hold up and down. Terms that act on orbitals (kinetic, nonlocal)
take coefficients (nspin, nk, nband, npw).
"""
