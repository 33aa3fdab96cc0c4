"""Sweeps over chips, their statistics and their pictures.

`levels` reads what to sweep, `sweep` evaluates it, `store` keeps it, `stats` sums it up, `collect`
puts several runs side by side under their `names`, `scale` places the levels, `plot` draws them.
"""

from cimsim.folders import give_matplotlib_a_folder

give_matplotlib_a_folder()
