"""Sweeps over chips, their statistics and their pictures.

`levels` reads what to sweep, `sweep` evaluates it, `store` keeps it, `stats` sums it up, `collect`
puts several runs side by side under their `names`, `scale` places the levels, `plot` draws them.
"""

if __name__ != "cimsim.analysis":  # an editable installation has the checkout on its path
    raise ImportError(f"no module named {__name__!r}; import cimsim.analysis")


from cimsim.folders import give_matplotlib_a_folder

give_matplotlib_a_folder()
