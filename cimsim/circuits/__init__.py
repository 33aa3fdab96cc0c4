"""The circuits around the cells: weight mapping, converters, and the ranges they are set to."""
