r"""Crossbars with resistive lines (IR drop).

Word lines are driven at the left, bit lines are grounded at the bottom, with a cell at each
crossing:

```
 V_0 --source--word--o--word--o--        A word line is open at the right end, a bit line at the
                     |        |          top. The first segment of a word line and the last segment
                    bit      bit         of a bit line are in series with source and sink.
 V_1 --source--word--o--word--o--
                     |        |
                    bit      bit
                     |        |
                   sink     sink
                     0        0
```

The network is linear, so ``I = V @ G_eff`` exactly, and ``G_eff`` is computed only once, by joining
patches of the crossbar pairwise. The interior of a patch is eliminated, so the cost is ``O(n^3)``
for n x n cells, mostly matrix products. Wires are given as resistances and cells as conductances,
so that wires of zero resistance and open cells need no special case.

On the CPU, :func:`cimsim.kernels.wires.solve` computes the solution and its gradient. The code
below is the reference, and serves other devices and machines without a compiler.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from cimsim import kernels
from cimsim.errors import CimsimError
from cimsim.torch_private import is_batched

_MOST_CELLS = 1 << 17  # solved at once in plain torch; a gradient needs about 3 kB per cell


class _Resistances(NamedTuple):
    """In ohm: word segment, first segment with source, bit segment, last segment with sink."""

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
    solution_S: Tensor | None = None,
) -> Tensor:
    """Return ``G_eff`` of a crossbar, exactly: column currents into ground are ``V @ G_eff``.

    Nodal analysis: at each of the two nodes of a cell, the currents through wires and cell add up
    to zero. The solution is direct (see :class:`_Patch`), without iteration or approximation.

    Measured deviation, relative to the largest element: in float64 at most 2e-12 compared to a
    sparse solution up to 256 x 256, and at most 7e-12 compared to one in fractions for wires of 0
    to 1 Mohm in any combination (there at most 5e-11 of each element). In float32 at most 2e-5 for
    wires up to 100 ohm and terminals up to 1 kohm at 256 x 256, and 6e-4 with both 1 uohm and
    1 Mohm.

    Args:
        g_S: conductances of the cells in siemens, ``[..., rows, columns]``, at least 0.
        r_word_ohm: resistance of the word line between neighboring cells, and before the first.
        r_bit_ohm: resistance of the bit line between neighboring cells, and after the last.
        r_source_ohm: resistance of the driver of each word line.
        r_sink_ohm: resistance of the readout of each bit line.
        solution_S: what an earlier call returned for the same crossbar. It is returned again, with
            a gradient in ``g_S``, and nothing is solved.

    Returns:
        Effective conductances in siemens, in the shape and dtype of ``g_S`` (half precision is
        computed in float32); ``g_S`` itself if all resistances are 0. Differentiable once in
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
    known = None if solution_S is None else _computable(solution_S).reshape(arrays.shape)
    with _full_precision(g_S):
        return _solve(arrays, resistances, known).view(g_S.shape).to(g_S.dtype)


def approximate_effective_conductance(
    g_S: Tensor,
    *,
    r_word_ohm: float,
    r_bit_ohm: float,
    r_source_ohm: float = 0.0,
    r_sink_ohm: float = 0.0,
) -> Tensor:
    """Approximate :func:`effective_conductance` to first order in the resistances.

    ``G_ij = g_ij / (1 + sum_k R_jk g_ik + sum_k R'_ik g_kj)`` with the path resistances R of a word
    line and R' of a bit line: the loss of every cell is that of its two lines at the nominal
    currents. This takes two matrix products. Arguments, result and errors are as in
    :func:`effective_conductance`; the result is differentiable any number of times.

    Measured errors for cells of 1 to 25 uS and 1 ohm per segment, at 64 x 64, 128 x 128, 256 x 256:
    0.06 %, 0.7 %, 4.2 % of the largest element (without any wires: 6 %, 19 %, 54 %); for a single
    element, far from the driven ends, 0.7 %, 10 %, 56 % of that element. The error of the sum of
    all elements, and so of the mean current, is at most 0.2 %.
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
    """Return column currents per volt of gated cells, which conduct only in rows that are on.

    No current flows between columns, so each column is a ladder with an exact solution in ``O(m)``.
    With an ideal supply, the conductance ``c`` is accumulated down the bit line: ``c <- c + g_i``
    if row i is on, ``c <- c / (1 + r c)`` along the segment below it. For a supply line see
    :func:`_between_two_rails`.

    Args:
        on: rows that are on, ``[..., vectors, rows]``, boolean or 0 and 1.
        g_S: conductances in siemens, ``[..., rows, columns]``; leading dimensions broadcast.
        r_bit_ohm: resistance of the bit line between neighboring cells, and after the last.
        r_sink_ohm: resistance of the readout of each bit line.
        r_supply_ohm: resistance of the supply line of each column, between neighboring cells and
            before the first; it is fed at the top, at the open end of the bit line, and is open at
            the bottom.

    Returns:
        Currents in ampere for a supply of 1 V, ``[..., vectors, columns]``, in the dtype of
        ``g_S`` (half precision is computed in float32).

    Raises:
        CimsimError: if a conductance or resistance is negative or not finite, or if the numbers of
            rows differ.

    Source: Kirchhoff's laws.

    >>> g = torch.tensor([[1e-3], [1e-3]], dtype=torch.float64)
    >>> gated_currents(torch.tensor([[True, False]]), g, r_bit_ohm=500.0)
    tensor([[0.0005]], dtype=torch.float64)
    """
    resistances = _checked(r_bit_ohm=r_bit_ohm, r_sink_ohm=r_sink_ohm, r_supply_ohm=r_supply_ohm)
    _check_conductances(g_S)
    rows = g_S.shape[-2]
    if on.dim() < 1 or on.shape[-1] != rows:
        raise CimsimError(f"the last dimension of 'on' must be {rows} rows, got {tuple(on.shape)}")
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
    """Return the conductance from the supply to the lower end of a bit line, both resistive.

    For a current J out of the lower end of the supply line and a voltage b at the lower end of the
    bit line, the rows so far give the voltage ``(1 - share) - ohm J + share b`` at the end of the
    supply line and the current ``siemens (1 - b) - share J`` out of the bit line. Every segment and
    cell updates these three numbers.
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
    if g_S.numel():
        least, most = g_S.aminmax()
        if not (least >= 0 and most < math.inf):  # both are NaN if any is
            raise CimsimError("conductances must be finite and 0 or more, in siemens")


def _path_resistances(nodes: int, first: float, segment: float, like: Tensor) -> Tensor:
    """Return ``first + segment * min(j, k)``, shared by the paths to nodes j and k."""
    index = torch.arange(nodes, device=like.device)
    return first + segment * torch.minimum(index, index.unsqueeze(-1)).to(like.dtype)


def _computable(g_S: Tensor) -> Tensor:
    return g_S if g_S.dtype in (torch.float32, torch.float64) else g_S.float()


def _full_precision(g_S: Tensor) -> torch.autocast:
    """Disable autocast."""
    return torch.autocast(g_S.device.type, enabled=False)


# The direct solution, which joins patches of the crossbar.


class _Patch(NamedTuple):
    """A rectangle of cells, p word lines by q bit lines, with the wires to the left and below.

    A line enters the patch at a driven end, Left or Bottom, whose voltage is prescribed, and leaves
    it at an open end, Right or Top, whose current is prescribed:

        i_L = LL v_L - LB v_B - RL' i_R - TL' i_T          v_R = RL v_L + RB v_B + RR i_R + RT i_T
        i_B = BB v_B - LB' v_L - RB' i_R - TB' i_T         v_T = TL v_L + TB v_B + RT' i_R + TT i_T

    with currents into the patch and ``'`` the transpose (the network is reciprocal). All elements
    are at least 0, except off the diagonals of LL and BB. This hybrid representation always exists
    and separates resistances, conductances and ratios, which avoids the loss of precision of a
    plain nodal matrix with wires of 1 ohm and cells of 1 Mohm.

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
        """Return the patch with word lines and bit lines exchanged."""
        LL, LB, BB, RL, RB, TL, TB, RR, RT, TT = self
        return _Patch(BB, LB.mT, LL, TB, TL, RB, RL, TT, RT.mT, RR)

    def without_right(self) -> _Patch:
        """Return the patch with its right ends open."""
        return self._replace(
            RL=self.RL[:, :0], RB=self.RB[:, :0], RR=self.RR[:, :0, :0], RT=self.RT[:, :0]
        )


def _cells(g: Tensor, left: Tensor, below: Tensor) -> _Patch:
    """Return patches of one cell: ``g`` and the resistances of two wires, all ``[cells, 1, 1]``."""
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
    """Join patch ``a`` with ``b`` to its right.

    At the interface, ``v = RR_a i + (open-circuit voltage of a)`` and ``-i = LL_b v +
    (short-circuit current of b)``, so that ``v = (1 + RR_a LL_b)^-1 (...)``, with one p x p
    inverse.
    """
    add = torch.baddbmm
    unit = torch.eye(a.RR.shape[-1], dtype=a.RR.dtype, device=a.RR.device)
    inverse = torch.linalg.inv_ex(add(unit, a.RR, b.LL)).inverse
    load = b.LL @ inverse
    load_L, load_B, load_T = load @ a.RL, load @ a.RB, load @ a.RT
    # From open-circuit voltages of a to b's right and top voltages and bottom currents.
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
    """Joining of ``group`` neighboring patches, along the word lines or the bit lines."""

    along_word: bool
    group: int
    last: bool  # the last step in this direction

    def __call__(self, patches: _Patch) -> _Patch:
        """Join patches that are ``patches / group`` apart, the leftmost or uppermost first."""
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
    """Return the factors of the least ``c 2^k >= length`` with c = 1, 3, 5 or 7, odd first."""
    if length == 1:
        return []
    halvings = {c: max(0, math.ceil(math.log2(length / c))) for c in (1, 3, 5, 7)}
    odd = min(halvings, key=lambda c: c << halvings[c])
    return [odd] * (odd > 1) + [2] * halvings[odd]


def _plan(rows: int, columns: int) -> list[_Step]:
    """Return the steps from single cells to the whole crossbar, with nearly square patches."""
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
    """Rearrange ``[arrays, rows, columns]`` to ``[cells, 1, 1]``, in the order of the steps."""
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
    """Return single cells, padded with open cells at the open ends, where no current flows."""
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
    # Ports are numbered from the driven ends, so rows are in reverse order.
    return patches.LB[:, :rows, :columns].flip(-2)


def _at_once(arrays: Tensor) -> int:
    """Return how many arrays plain torch solves at once."""
    return max(1, _MOST_CELLS // arrays[0].numel())


def _vjp(g_S: Tensor, resistances: _Resistances, grad: Tensor) -> Tensor:
    """Recompute all steps with autograd, instead of storing their intermediate results."""
    with torch.enable_grad():
        leaf = g_S.detach().requires_grad_()
        (grad,) = torch.autograd.grad(_solution(leaf, resistances), leaf, grad)
    return grad


class _Nodal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g_S: Tensor, resistances: _Resistances, known_S: Tensor | None) -> Tensor:
        ctx.resistances = resistances
        ctx.save_for_backward(g_S)
        if known_S is not None:
            return known_S
        if kernels.solves_wires(g_S):
            return kernels.wires.solve(g_S, resistances)
        parts = g_S.split(_at_once(g_S))
        return torch.cat([_solution(part, resistances) for part in parts])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (g_S,) = ctx.saved_tensors
        if kernels.solves_wires(g_S) and not is_batched(grad):
            return kernels.wires.solve(g_S, ctx.resistances, grad), None, None
        parts = zip(*(x.split(_at_once(x)) for x in (g_S, grad)), strict=True)
        with _full_precision(g_S):
            d_g = torch.cat([_vjp(part, ctx.resistances, by) for part, by in parts])
        return d_g, None, None


def _solve(g_S: Tensor, resistances: _Resistances, known_S: Tensor | None) -> Tensor:
    solved: Tensor = _Nodal.apply(g_S, resistances, known_S)  # type: ignore[no-untyped-call]
    return solved
