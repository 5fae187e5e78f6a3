"""The lowest states of one Hamiltonian: first orbitals, block Davidson, filled levels.

Contract: a `Hamiltonian` and orbitals in, orthonormal orbitals (nspin, nk, nband, npw) with
ascending eigenvalues (Hartree) and residual norms out, without derivatives. Where the Hamiltonian
has an overlap S, they solve H c = e S c and are orthonormal in S. The caller sets the effort by
tolerances and numbers of sweeps. The potential need not be self-consistent.
"""
