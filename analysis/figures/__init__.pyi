from . import canvas as canvas
from . import curves as curves
from . import fit as fit
from . import heat_map as heat_map
from . import pareto_front as pareto_front
from . import profile_curves as profile_curves
from . import svg as svg
from . import training as training
