"""``cimsim app``: a page on this machine on which the conditions of a trained network are moved.

:mod:`~cimsim.app.session` computes what the page shows. Only :mod:`~cimsim.app.page` and
:mod:`~cimsim.app.server` import the library that draws it, NiceGUI.
"""
