"""Noise-aware training within other libraries.

Each module needs the library that it is named after, and is imported by its name, such as
``from cimsim.integrations.lightning import NoiseAwareCallback``.
"""
