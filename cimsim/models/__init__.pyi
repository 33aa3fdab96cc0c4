from . import cards as cards
from . import loading as loading
from .cards import Card as Card
from .cards import ChipScore as ChipScore
from .cards import card as card
from .cards import names as names
from .loading import load as load
