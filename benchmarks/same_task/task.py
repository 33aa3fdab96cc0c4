"""What a user has before a library for chips comes in: data, a network, and how it is trained."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 40
NOISE = 0.03  # standard deviation of a programmed weight, relative to the largest one
TRAINING_NOISE = 2.0  # factor on NOISE in training
LEVELS = (0, 1, 2, 3, 4)  # factors on NOISE in tests
CHIPS = 10


class Digits(nn.Module):
    """A small perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, 64)
        self.output = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits ``[N, 10]`` from images ``[N, 64]``."""
        return self.output(self.hidden(x).relu())


def network() -> nn.Module:
    """The network before training, the same in each program."""
    torch.manual_seed(0)
    return Digits()


def loaders() -> tuple[DataLoader[tuple[Tensor, ...]], DataLoader[tuple[Tensor, ...]]]:
    """1000 digits of scikit-learn for training, the other 797 for tests."""
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images / 16, dtype=torch.float32)
    y = torch.tensor(labels)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, test = (TensorDataset(x[i], y[i]) for i in (order[:1000], order[1000:]))
    return DataLoader(train, batch_size=50, shuffle=True), DataLoader(test, batch_size=200)


@torch.no_grad()
def accuracy(model: nn.Module, loader: DataLoader[tuple[Tensor, ...]]) -> float:
    """Correct classes in %."""
    correct = [(model(x).argmax(-1) == y) for x, y in loader]
    return torch.cat(correct).double().mean().item() * 100
