"""Damaged profiles, run folders and measurements, made from a seed: what must never crash.

`python -m tests.fuzz --count 10000` tries many, `test_fuzz.py` a few of each kind.
"""
