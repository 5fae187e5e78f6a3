"""Definitions: functionals and networks as plain data, written to files and built again.

Contract: a functional or a network in, a definition out, and the other way round. A definition is
a dictionary of JSON values: {"class": name, "options": {...}}, where the options are the arguments
of the constructor. They may contain other functionals and networks, as definitions, trainable
numbers, and factors that are computed from these. Weights are not part of it.

Building looks up classes among the package's own and those the caller names, and calls their
constructors: a definition can run nothing else.
"""

from .arguments import forgotten
from .building import build
from .known import own_classes
from .writing import definition_of

__all__ = ["build", "definition_of", "forgotten", "own_classes"]
