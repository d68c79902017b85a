from . import interruption as interruption
from . import loop as loop
from . import progress as progress
from . import starting as starting
from .loop import Run as Run
from .starting import check_disjoint as check_disjoint
from .starting import join as join
from .starting import meta_train as meta_train
