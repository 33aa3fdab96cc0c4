"""An independent solution of a resistive crossbar: the sparse nodal equations, solved directly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import splu

Matrix = NDArray[np.float64]


def nodal_conductance(
    g_S: Matrix, r_word: float, r_bit: float, r_source: float, r_sink: float
) -> Matrix:
    """Column currents per volt at each row, ``[rows, columns]``.

    Wires of no resistance join their two ends to one node; sources and ground are nodes of known
    voltage. What flows into a bit line through its cells flows into ground.
    """
    rows, columns = g_S.shape
    ground = 2 * rows * columns + rows
    parent = np.arange(ground + 1)

    def word(i: int, j: int) -> int:
        return i * columns + j

    def bit(i: int, j: int) -> int:
        return rows * columns + i * columns + j

    def find(node: int) -> int:
        while parent[node] != node:
            node = parent[node]
        return node

    wires = []
    for i in range(rows):
        wires.append((2 * rows * columns + i, word(i, 0), r_word + r_source))
        wires += [(word(i, j), word(i, j + 1), r_word) for j in range(columns - 1)]
    for j in range(columns):
        wires += [(bit(i, j), bit(i + 1, j), r_bit) for i in range(rows - 1)]
        wires.append((bit(rows - 1, j), ground, r_bit + r_sink))
    for a, b, ohm in wires:
        if ohm == 0:
            one, other = sorted((find(a), find(b)))
            parent[one] = other  # the higher number wins, so known nodes stay what they are
    node = np.array([find(k) for k in range(ground + 1)])
    links = [(node[a], node[b], 1 / ohm) for a, b, ohm in wires if ohm]
    cells = [(i, j) for i in range(rows) for j in range(columns)]
    links += [(node[word(i, j)], node[bit(i, j)], g_S[i, j]) for i, j in cells]
    known = 2 * rows * columns  # from here on: sources, then ground
    unknown = np.unique(node[node < known])
    index = np.full(ground + 1, -1)
    index[unknown] = np.arange(len(unknown))
    volts = np.zeros((ground + 1, rows))
    volts[known:ground] = np.eye(rows)
    if len(unknown):
        at, to, values = [], [], []
        right = np.zeros((len(unknown), rows))
        for a, b, siemens in links:
            for one, other in ((a, b), (b, a)):
                if index[one] >= 0:
                    at.append(index[one])
                    to.append(index[one])
                    values.append(siemens)
                    if index[other] >= 0:
                        at.append(index[one])
                        to.append(index[other])
                        values.append(-siemens)
                    else:
                        right[index[one]] += siemens * volts[other]
        matrix = coo_matrix((values, (at, to)), shape=(len(unknown), len(unknown))).tocsc()
        volts[unknown] = splu(matrix).solve(right)
    across = volts[node]
    effective = np.zeros((rows, columns))
    for i, j in cells:
        effective[:, j] += g_S[i, j] * (across[word(i, j)] - across[bit(i, j)])
    return effective
