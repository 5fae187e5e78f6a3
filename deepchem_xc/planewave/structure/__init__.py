"""The physical system: lattice, atoms, symmetry and k-points, before any plane wave.

Contract: a `Crystal` is frozen, in bohr, and checked when it is made; lattice and positions are
tensors that may require gradients. Symmetry and k-points follow from its detached geometry.
Structures from ASE, pymatgen and files are converted to one, or refused if they need more than it
can represent.
"""
