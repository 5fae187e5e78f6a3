"""How electrons fill levels: integer filling or smearing, Fermi level, entropy.

Contract: eigenvalues (nspin, nk, nband) in Hartree and weights of k-points in, occupations
(nspin, nk, nband) between 0 and 2 / nspin out, without the weight of the k-point. Nothing here
knows what a basis is, so that crystals and molecules share it. What cannot be filled is refused
before anything is computed.
"""
