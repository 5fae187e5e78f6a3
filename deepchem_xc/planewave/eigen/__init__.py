"""The lowest states of one Hamiltonian: first orbitals, block Davidson, filled levels.

Contract: a `Hamiltonian` and orbitals in, orthonormal orbitals (nspin, nk, nband, npw) with
ascending eigenvalues (Hartree) and residual norms out, without derivatives. Effort is handed in
as tolerances and numbers of sweeps. Whether the potential is self-consistent is not asked here.
"""
