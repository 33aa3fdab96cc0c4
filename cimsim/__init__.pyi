from . import analysis as analysis
from . import array as array
from . import circuits as circuits
from . import estimators as estimators
from . import exchange as exchange
from . import fitting as fitting
from . import kernels as kernels
from . import models as models
from . import nn as nn
from . import physics as physics
from . import profile as profile
from . import quantizers as quantizers
from . import training as training
from .errors import CimsimError as CimsimError
from .nn import age as age
from .nn import analog_layers as analog_layers
from .nn import calibrate as calibrate
from .nn import convert as convert
from .nn import load as load
from .nn import program as program
from .nn import save as save
from .nn import summary as summary
from .nn import to_digital as to_digital
from .profile import Profile as Profile
from .profile import load_profile as load_profile
from .training.noise_aware import NoiseAware as NoiseAware

__version__: str
