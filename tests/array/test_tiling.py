"""The contract of every tiling: cells and back, the product, and its two transposes."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cimsim.array import ConvTiling, LinearTiling, Tiling
from cimsim.array.tiling import ConvGeometry
from cimsim.errors import CimsimError


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


class TilingContract:
    """A subclass gives ``tiling``, ``x``, ``weight`` and the layer's ``reference`` output."""

    @pytest.fixture(autouse=True)
    def _seed(self) -> None:
        torch.manual_seed(0)

    def test_cells_and_back(self, tiling: Tiling, weight: Tensor) -> None:
        cells = tiling.to_cells(weight)
        assert cells.dim() == 3
        assert torch.equal(tiling.from_cells(cells), weight)

    def test_no_tile_is_larger_than_the_limit(
        self, tiling: Tiling, weight: Tensor, rows: int
    ) -> None:
        assert tiling.to_cells(weight).shape[2] <= rows

    def test_accumulated_product_is_the_layer(
        self, tiling: Tiling, x: Tensor, weight: Tensor, reference: Tensor
    ) -> None:
        z = tiling.product(x, tiling.to_cells(weight))
        assert torch.allclose(tiling.accumulate(z), reference)

    def test_input_grad_is_the_transpose(self, tiling: Tiling, x: Tensor, weight: Tensor) -> None:
        cells = tiling.to_cells(weight)
        z = tiling.product(x, cells)
        dz = torch.randn_like(z)
        dx = tiling.input_grad(dz, cells, x.shape)
        assert dx.shape == x.shape
        assert torch.allclose((dz * z).sum(), (dx * x).sum())

    def test_cells_grad_is_the_transpose(self, tiling: Tiling, x: Tensor, weight: Tensor) -> None:
        cells = tiling.to_cells(weight)
        z = tiling.product(x, cells)
        dz = torch.randn_like(z)
        dw = tiling.cells_grad(dz, x)
        assert dw.shape == cells.shape
        assert torch.allclose((dz * z).sum(), (dw * cells).sum())

    def test_spread_is_the_transpose_of_accumulate(
        self, tiling: Tiling, x: Tensor, weight: Tensor
    ) -> None:
        z = tiling.product(x, tiling.to_cells(weight))
        dy = torch.randn_like(tiling.accumulate(z))
        assert tiling.scatter(dy).shape == z.shape
        assert torch.allclose((dy * tiling.accumulate(z)).sum(), (tiling.scatter(dy) * z).sum())

    def test_a_column_can_be_singled_out(self, tiling: Tiling, x: Tensor, weight: Tensor) -> None:
        cells = tiling.to_cells(weight)
        only = torch.zeros(cells.shape[:2], dtype=x.dtype)
        only[-1, -1] = 1.0
        z = tiling.product(x, cells) * tiling.per_column(only)
        assert torch.allclose(z, tiling.product(x, cells * only.unsqueeze(-1)))

    def test_the_product_cell_by_cell(self, tiling: Tiling, x: Tensor, weight: Tensor) -> None:
        cells = tiling.to_cells(weight)
        rows = tiling.row_inputs(x)
        assert rows.shape[::2] == (tiling.tiles, tiling.rows)
        z = tiling.product(x, cells)
        by_column = tiling.by_column(z)
        assert torch.allclose(by_column, cells @ rows.transpose(1, 2))
        assert torch.equal(tiling.from_columns(by_column, x.shape), z)

    def test_any_number_of_columns(self, tiling: Tiling, x: Tensor, weight: Tensor) -> None:
        """Slices and reference columns make more of them than there are outputs."""
        cells = tiling.to_cells(weight)
        more = torch.cat((cells, cells[:, :1] * 2.0), dim=1)
        z = tiling.product(x, more)
        columns = cells.shape[1]
        assert z.shape[tiling.column_dim] == columns + 1
        assert torch.allclose(z.narrow(tiling.column_dim, 0, columns), tiling.product(x, cells))
        dz = torch.randn_like(z)
        assert torch.allclose((dz * z).sum(), (tiling.input_grad(dz, more, x.shape) * x).sum())
        assert torch.allclose((dz * z).sum(), (tiling.cells_grad(dz, x) * more).sum())
        assert z.shape[tiling.vector_dim] == len(x)


@pytest.mark.parametrize("even", [True, False], ids=["even", "filled"])
@pytest.mark.parametrize("rows", [100, 7, 4, 1])
class TestLinearTiling(TilingContract):
    @pytest.fixture
    def tiling(self, rows: int, even: bool) -> LinearTiling:
        return LinearTiling(10, rows, even)

    @pytest.fixture
    def x(self) -> Tensor:
        return draw(5, 10)

    @pytest.fixture
    def weight(self) -> Tensor:
        return draw(3, 10)

    @pytest.fixture
    def reference(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.linear(x, weight)


GEOMETRIES = {
    "plain": ConvGeometry(5, 6, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "strided": ConvGeometry(5, 6, (3, 2), (2, 3), (1, 0), (1, 1), 1),
    "dilated": ConvGeometry(5, 4, (2, 3), (1, 2), (2, 2), (2, 1), 1),
    "grouped": ConvGeometry(6, 4, (3, 3), (1, 1), (0, 0), (1, 1), 2),
    "depthwise": ConvGeometry(6, 12, (3, 3), (1, 1), (1, 1), (1, 1), 6),
    "pointwise": ConvGeometry(7, 3, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    "sequence": ConvGeometry(5, 6, (3,), (2,), (1,), (2,), 1),
    "volume": ConvGeometry(4, 6, (2, 1, 3), (1, 2, 1), (1, 0, 1), (1, 1, 2), 2),
}


@pytest.mark.parametrize("even", [True, False], ids=["even", "filled"])
@pytest.mark.parametrize("rows", [512, 18, 9])
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=list(GEOMETRIES))
class TestConvTiling(TilingContract):
    @pytest.fixture
    def tiling(self, geometry: ConvGeometry, rows: int, even: bool) -> ConvTiling:
        return ConvTiling(geometry, rows, even)

    @pytest.fixture
    def x(self, geometry: ConvGeometry) -> Tensor:
        return draw(2, geometry.in_channels, *(9, 8, 7)[: geometry.dimensions])

    @pytest.fixture
    def weight(self, geometry: ConvGeometry) -> Tensor:
        g = geometry
        return draw(g.out_channels, g.in_channels // g.groups, *g.kernel)

    @pytest.fixture
    def reference(self, x: Tensor, weight: Tensor, geometry: ConvGeometry) -> Tensor:
        g = geometry
        conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[g.dimensions]
        return conv(x, weight, None, g.stride, g.padding, g.dilation, g.groups)


def test_rows_are_dealt_out_evenly() -> None:
    tiling = LinearTiling(784, 512)
    assert (tiling.tiles, tiling.rows) == (2, 392)


def test_or_tile_after_tile_is_filled() -> None:
    tiling = LinearTiling(784, 512, even=False)
    assert (tiling.tiles, tiling.rows) == (2, 512)
    cells = tiling.to_cells(torch.ones(3, 784))
    assert cells.sum(2).tolist() == [[512.0] * 3, [272.0] * 3]
    small = LinearTiling(100, 512, even=False)
    assert (small.tiles, small.rows) == (1, 100)


def test_a_kernel_larger_than_a_tile_is_refused() -> None:
    with pytest.raises(CimsimError, match=r"needs 25 rows .* has 16; .* at least 25"):
        ConvTiling(ConvGeometry(3, 4, (5, 5), (1, 1), (0, 0), (1, 1), 1), 16)
