r"""Wires: what a crossbar with resistive lines looks like from outside (IR drop).

Word lines are driven at the left, bit lines are grounded at the bottom, a cell joins each crossing:

```
 V_0 --source--word--o--word--o--        A word line ends open on the right, a bit line at the
                     |        |          top. The first segment of a word line and the last of a
                    bit      bit         bit line exist, in series with source and sink.
 V_1 --source--word--o--word--o--
                     |        |
                    bit      bit
                     |        |
                   sink     sink
                     0        0
```

The network is linear, so ``I = V @ G_eff`` exactly, and ``G_eff`` has to be found only once. It is
found by joining patches of the crossbar, pair by pair: the inside of a patch never matters again,
so the work is ``O(n^3)`` for n x n cells, and most of it is batched matrix products. Wires enter as
resistances and cells as conductances, so wires of none and open cells need no exceptions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from cimsim.errors import CimsimError

_MOST_CELLS = 1 << 17  # solved at once; a gradient takes some 3 kB for each on the way


class _Resistances(NamedTuple):
    """In ohm: word segment, first word segment with its source, bit segment, last with its sink."""

    word: float
    first: float
    bit: float
    last: float


def effective_conductance(
    g_S: Tensor,
    *,
    r_word_ohm: float,
    r_bit_ohm: float,
    r_source_ohm: float = 0.0,
    r_sink_ohm: float = 0.0,
) -> Tensor:
    """``G_eff`` of a crossbar: column currents into ground are ``V @ G_eff``, exactly.

    Nodal analysis: at each of the two nodes of a cell, currents through its wires and the cell add
    up to zero. Solved directly, see :class:`_Patch`; nothing is iterated or neglected.

    Measured deviation, relative to the largest element: in float64 at most 2e-12, from a sparse
    solution up to 256 x 256 and from one in fractions for wires of 0 to 1 Mohm in any combination
    (there also 2e-11 of each single element). In float32 at most 2e-5 for wires up to 100 ohm and
    terminals up to 1 kohm at 256 x 256, and 6e-4 where 1 uohm meets 1 Mohm.

    Args:
        g_S: conductances of the cells in siemens, ``[..., rows, columns]``, at least 0.
        r_word_ohm: word line between neighbouring cells, and before the first.
        r_bit_ohm: bit line between neighbouring cells, and behind the last.
        r_source_ohm: driver of each word line.
        r_sink_ohm: read-out of each bit line.

    Returns:
        Effective conductances in siemens, of the shape and dtype of ``g_S`` (half precision is
        computed in float32); ``g_S`` itself where all resistances are 0. Differentiable once in
        ``g_S``.

    Raises:
        CimsimError: if a conductance or resistance is negative or not finite, or ``g_S`` is not a
            floating-point matrix.

    Source: Kirchhoff's laws.

    >>> g = torch.tensor([[1e-3]], dtype=torch.float64)
    >>> effective_conductance(g, r_word_ohm=100.0, r_bit_ohm=300.0, r_sink_ohm=600.0)
    tensor([[0.0005]], dtype=torch.float64)
    """
    resistances = _checked(
        r_word_ohm=r_word_ohm, r_bit_ohm=r_bit_ohm, r_source_ohm=r_source_ohm, r_sink_ohm=r_sink_ohm
    )
    _check_conductances(g_S)
    if not any(resistances) or g_S.numel() == 0:
        return g_S
    rows, columns = g_S.shape[-2:]
    arrays = _computable(g_S).reshape(-1, rows, columns)
    at_once = max(1, _MOST_CELLS // (rows * columns))
    with _full_precision(g_S):
        solved = [_solve(some, resistances) for some in arrays.split(at_once)]
    return torch.cat(solved).view(g_S.shape).to(g_S.dtype)


def approximate_effective_conductance(
    g_S: Tensor,
    *,
    r_word_ohm: float,
    r_bit_ohm: float,
    r_source_ohm: float = 0.0,
    r_sink_ohm: float = 0.0,
) -> Tensor:
    """A cheap approximation of :func:`effective_conductance`, first order in the resistances.

    ``G_ij = g_ij / (1 + sum_k R_jk g_ik + sum_k R'_ik g_kj)`` with the path resistances R of a word
    line and R' of a bit line: every cell loses what its own two lines would lose at the nominal
    currents. Two matrix products; arguments, result and errors as there, any number of derivatives.

    Measured for cells of 1 to 25 uS and 1 ohm for each segment, at 64 x 64, 128 x 128, 256 x 256:
    off by 0.06 %, 0.7 %, 4.2 % of the largest element (no wires at all: 6 %, 19 %, 54 %), and a
    single element, far from the driven ends, by 0.7 %, 10 %, 56 % of itself. The sum of all, so
    the mean current, is right to 0.2 %.
    """
    resistances = _checked(
        r_word_ohm=r_word_ohm, r_bit_ohm=r_bit_ohm, r_source_ohm=r_source_ohm, r_sink_ohm=r_sink_ohm
    )
    _check_conductances(g_S)
    rows, columns = g_S.shape[-2:]
    g = _computable(g_S)
    word = _path_resistances(columns, resistances.first, resistances.word, g)
    bit = _path_resistances(rows, resistances.last, resistances.bit, g).flip(0, 1)
    with _full_precision(g_S):
        return (g / (1.0 + g @ word + bit @ g)).to(g_S.dtype)


def gated_currents(
    on: Tensor,
    g_S: Tensor,
    *,
    r_bit_ohm: float,
    r_sink_ohm: float = 0.0,
    r_supply_ohm: float = 0.0,
) -> Tensor:
    """Column currents, per volt, of cells that only the rows switched on connect to their bit line.

    No current flows from column to column, so each is a ladder, exact in ``O(m)``. Behind an ideal
    supply the conductance ``c`` is followed down the bit line: ``c <- c + g_i`` where row i is on,
    ``c <- c / (1 + r c)`` along the segment below it. For a supply line see
    :func:`_between_two_rails`.

    Args:
        on: which rows are on, ``[..., vectors, rows]``, boolean or 0 and 1.
        g_S: conductances in siemens, ``[..., rows, columns]``; leading dimensions broadcast.
        r_bit_ohm: bit line between neighbouring cells, and behind the last.
        r_sink_ohm: read-out of each bit line.
        r_supply_ohm: supply line of each column, between neighbouring cells and before the first;
            it is fed at the top, where the bit line ends, and ends at the bottom.

    Returns:
        Currents in ampere for a supply of 1 V, ``[..., vectors, columns]``, of the dtype of
        ``g_S`` (half precision is computed in float32).

    Raises:
        CimsimError: if a conductance or resistance is negative or not finite, or the rows differ.

    Source: Kirchhoff's laws.

    >>> g = torch.tensor([[1e-3], [1e-3]], dtype=torch.float64)
    >>> gated_currents(torch.tensor([[True, False]]), g, r_bit_ohm=500.0)
    tensor([[0.0005]], dtype=torch.float64)
    """
    resistances = _checked(r_bit_ohm=r_bit_ohm, r_sink_ohm=r_sink_ohm, r_supply_ohm=r_supply_ohm)
    _check_conductances(g_S)
    rows = g_S.shape[-2]
    if on.dim() < 1 or on.shape[-1] != rows:
        raise CimsimError(f"{rows} rows of cells need as many switches, not {tuple(on.shape)}")
    g = _computable(g_S)
    switched = on.to(g.dtype)
    cells = (switched[..., i : i + 1] * g[..., i : i + 1, :] for i in range(rows))
    if r_supply_ohm:
        seen = _between_two_rails(cells, resistances.bit, r_supply_ohm)
    else:
        seen = next(cells)
        for cell in cells:
            seen = seen / (1.0 + resistances.bit * seen) + cell
    return (seen / (1.0 + resistances.last * seen)).to(g_S.dtype)


def _between_two_rails(cells: Iterator[Tensor], r_bit: float, r_supply: float) -> Tensor:
    """Conductance from the supply to the lower end of a bit line, both of resistive wire.

    For a current J out of the lower end of the supply line and a voltage b at that of the bit line,
    the rows so far have the supply end at ``(1 - share) - ohm J + share b`` and a current out of
    the bit line of ``siemens (1 - b) - share J``. Wires and cells change the three as they must.
    """
    siemens = share = ohm = None
    for g in cells:
        if siemens is None or share is None or ohm is None:
            siemens = share = torch.zeros_like(g)
            ohm = torch.full_like(g, r_supply)
        else:
            along = 1.0 / (1.0 + r_bit * siemens)
            ohm = ohm + r_supply + r_bit * share.square() * along
            siemens, share = siemens * along, share * along
        rest, through = 1.0 - share, g / (1.0 + g * ohm)
        siemens = siemens + rest.square() * through
        share = share + rest * ohm * through
        ohm = ohm / (1.0 + g * ohm)
    assert siemens is not None
    return siemens


def _checked(**named: float) -> _Resistances:
    for name, ohm in named.items():
        if not (math.isfinite(ohm) and ohm >= 0):
            raise CimsimError(f"{name} must be a finite resistance of 0 or more, not {ohm}")
    word, bit = named.get("r_word_ohm", 0.0), named["r_bit_ohm"]
    return _Resistances(
        word, word + named.get("r_source_ohm", 0.0), bit, bit + named.get("r_sink_ohm", 0.0)
    )


def _check_conductances(g_S: Tensor) -> None:
    if not g_S.is_floating_point() or g_S.dim() < 2:
        raise CimsimError(
            "conductances must be a floating-point tensor [..., rows, columns], not "
            f"{g_S.dtype} of shape {tuple(g_S.shape)}"
        )
    if g_S.numel() and not bool(((g_S >= 0) & (g_S < math.inf)).all()):
        raise CimsimError("conductances must be finite and 0 or more, in siemens")


def _path_resistances(nodes: int, first: float, segment: float, like: Tensor) -> Tensor:
    """``first + segment * min(j, k)``: what the paths from the driven end to two nodes share."""
    index = torch.arange(nodes, device=like.device)
    return first + segment * torch.minimum(index, index.unsqueeze(-1)).to(like.dtype)


def _computable(g_S: Tensor) -> Tensor:
    return g_S if g_S.dtype in (torch.float32, torch.float64) else g_S.float()


def _full_precision(g_S: Tensor) -> torch.autocast:
    """Autocast, if it is on, is not for this."""
    return torch.autocast(g_S.device.type, enabled=False)


# The direct solution: patches of the crossbar, and how two of them are joined.


class _Patch(NamedTuple):
    """A rectangle of cells, p word lines by q bit lines, each with its wires to the left and below.

    A line enters the patch at a driven end, Left or Bottom, whose voltage is given, and leaves it
    at an open end, Right or Top, into which a current is given:

        i_L = LL v_L - LB v_B - RL' i_R - TL' i_T          v_R = RL v_L + RB v_B + RR i_R + RT i_T
        i_B = BB v_B - LB' v_L - RB' i_R - TB' i_T         v_T = TL v_L + TB v_B + RT' i_R + TT i_T

    with currents into the patch and ``'`` the transpose (the network is reciprocal). All elements
    are at least 0, except off the diagonals of LL and BB. This mixture of voltages and currents
    always exists, and keeps resistances, conductances and ratios apart, which saves the digits that
    a plain nodal matrix loses between wires of 1 ohm and cells of 1 Mohm.

    Each field is ``[patches, ports, ports]``, with p ports L and R and q ports B and T.
    """

    LL: Tensor
    LB: Tensor
    BB: Tensor
    RL: Tensor
    RB: Tensor
    TL: Tensor
    TB: Tensor
    RR: Tensor
    RT: Tensor
    TT: Tensor

    def mirrored(self) -> _Patch:
        """The same patch with word lines called bit lines and the other way round."""
        LL, LB, BB, RL, RB, TL, TB, RR, RT, TT = self
        return _Patch(BB, LB.mT, LL, TB, TL, RB, RL, TT, RT.mT, RR)

    def without_right(self) -> _Patch:
        """With its right ends left open for ever."""
        return self._replace(
            RL=self.RL[:, :0], RB=self.RB[:, :0], RR=self.RR[:, :0, :0], RT=self.RT[:, :0]
        )


def _cells(g: Tensor, left: Tensor, below: Tensor) -> _Patch:
    """One cell each: ``g`` with the resistances of its two wires, all ``[cells, 1, 1]``."""
    all_three = 1.0 + g * (left + below)
    y, word, bit = g / all_three, (1.0 + g * below) / all_three, (1.0 + g * left) / all_three
    return _Patch(
        LL=y,
        LB=y,
        BB=y,
        RL=word,
        RB=left * y,
        TL=below * y,
        TB=bit,
        RR=left * word,
        RT=left * below * y,
        TT=below * bit,
    )


def _joined(a: _Patch, b: _Patch) -> _Patch:
    """Patch ``a`` with ``b`` to its right.

    Where they meet, ``v = RR_a i + (what a would give open)`` and ``-i = LL_b v + (what b would
    draw shorted)``, so that ``v = (1 + RR_a LL_b)^-1 (...)``: one inverse, of p x p.
    """
    add = torch.baddbmm
    unit = torch.eye(a.RR.shape[-1], dtype=a.RR.dtype, device=a.RR.device)
    inverse = torch.linalg.inv_ex(add(unit, a.RR, b.LL)).inverse
    load = b.LL @ inverse
    load_L, load_B, load_T = load @ a.RL, load @ a.RB, load @ a.RT
    # From the voltages of an open a to b: as far as b's right, top and (as a current) bottom.
    to_R, to_T, to_B = b.RL @ inverse, b.TL @ inverse, b.LB.mT @ inverse
    from_R, from_T, from_B = to_R @ a.RR, to_T @ a.RR, to_B @ a.RR
    a_RL, a_RB, a_RT, b_TL = a.RL.mT, a.RB.mT, a.RT.mT, b.TL.mT
    BB, TT, TB = -(to_B @ a.RB), to_T @ a.RT, to_B @ a.RT
    return _Patch(
        LL=add(a.LL, a_RL, load_L),
        LB=_beside(add(a.LB, a_RL, load_B, alpha=-1), a_RL @ to_B.mT),
        BB=_square(add(a.BB, a_RB, load_B), BB.mT, BB, add(b.BB, from_B, b.LB, alpha=-1)),
        RL=to_R @ a.RL,
        RB=_beside(to_R @ a.RB, add(b.RB, from_R, b.LB)),
        TL=torch.cat((add(a.TL, a_RT, load_L, alpha=-1), to_T @ a.RL), -2),
        TB=_square(add(a.TB, a_RT, load_B, alpha=-1), TB.mT, to_T @ a.RB, add(b.TB, from_T, b.LB)),
        RR=add(b.RR, from_R, b.RL.mT),
        RT=_beside(to_R @ a.RT, add(b.RT, from_R, b_TL)),
        TT=_square(add(a.TT, a_RT, load_T, alpha=-1), TT.mT, TT, add(b.TT, from_T, b_TL)),
    )


def _beside(left: Tensor, right: Tensor) -> Tensor:
    return torch.cat((left, right), -1)


def _square(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return torch.cat((_beside(a, b), _beside(c, d)), -2)


class _Step(NamedTuple):
    """Neighbouring patches are joined, ``group`` to one: along the word lines or the bit lines."""

    along_word: bool
    group: int
    last: bool  # nothing will be joined in this direction any more

    def __call__(self, patches: _Patch) -> _Patch:
        """Patches to be joined lie ``patches / group`` apart, the leftmost or uppermost first."""
        each = [_Patch(*some) for some in zip(*(x.chunk(self.group) for x in patches), strict=True)]
        if not self.along_word:  # bit lines start at the bottom
            each = [patch.mirrored() for patch in reversed(each)]
        if self.last:
            each[-1] = each[-1].without_right()
        joined = each[0]
        for patch in each[1:]:
            joined = _joined(joined, patch)
        return joined if self.along_word else joined.mirrored()


def _factors(length: int) -> list[int]:
    """Factors of the least ``c 2^k >= length`` with c = 1, 3, 5 or 7, the odd one first."""
    if length == 1:
        return []
    halvings = {c: max(0, math.ceil(math.log2(length / c))) for c in (1, 3, 5, 7)}
    odd = min(halvings, key=lambda c: c << halvings[c])
    return [odd] * (odd > 1) + [2] * halvings[odd]


def _plan(rows: int, columns: int) -> list[_Step]:
    """The steps from single cells to the whole, such that patches stay about square."""
    down, along = _factors(rows), _factors(columns)
    steps, height, width = [], 1, 1
    while down or along:
        if along and (width <= height or not down):
            group = along.pop(0)
            width *= group
            steps.append(_Step(True, group, not along))
        else:
            group = down.pop(0)
            height *= group
            steps.append(_Step(False, group, not down))
    return steps


def _in_order(cells: Tensor, steps: list[_Step]) -> Tensor:
    """``[arrays, rows, columns]`` as ``[cells, 1, 1]``, so that each step finds what it joins."""
    down = [step.group for step in steps if not step.along_word]
    along = [step.group for step in steps if step.along_word]
    split = cells.reshape(-1, *reversed(down), *reversed(along))
    row, column = len(down), len(down) + len(along)
    order = []
    for step in steps:
        if step.along_word:
            order.append(column)
            column -= 1
        else:
            order.append(row)
            row -= 1
    return split.permute(*order, 0).reshape(-1, 1, 1)


def _leaves(g_S: Tensor, r: _Resistances, steps: list[_Step]) -> _Patch:
    """The cells one by one, and open ones at the open ends of the lines, where no current flows."""
    height = math.prod(step.group for step in steps if not step.along_word)
    width = math.prod(step.group for step in steps if step.along_word)
    padded = F.pad(g_S, (0, width - g_S.shape[-1], height - g_S.shape[-2], 0))
    left, below = torch.full_like(padded[:1], r.word), torch.full_like(padded[:1], r.bit)
    left[..., 0], below[..., -1, :] = r.first, r.last
    left, below = left.expand_as(padded), below.expand_as(padded)
    return _cells(*(_in_order(x, steps) for x in (padded, left, below)))


def _solution(g_S: Tensor, resistances: _Resistances) -> Tensor:
    rows, columns = g_S.shape[-2:]
    steps = _plan(rows, columns)
    patches = _leaves(g_S, resistances, steps)
    for step in steps:
        patches = step(patches)
    # Ports count from the driven ends, so rows come from the bottom up.
    return patches.LB[:, :rows, :columns].flip(-2)


class _Nodal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g_S: Tensor, resistances: _Resistances) -> Tensor:
        ctx.resistances = resistances
        ctx.save_for_backward(g_S)
        return _solution(g_S, resistances)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Autograd through all steps once more, rather than keep all they leave behind."""
        (g_S,) = ctx.saved_tensors
        with torch.enable_grad(), _full_precision(g_S):
            leaf = g_S.detach().requires_grad_()
            (grad,) = torch.autograd.grad(_solution(leaf, ctx.resistances), leaf, grad)
        return grad, None


def _solve(g_S: Tensor, resistances: _Resistances) -> Tensor:
    solved: Tensor = _Nodal.apply(g_S, resistances)  # type: ignore[no-untyped-call]
    return solved
