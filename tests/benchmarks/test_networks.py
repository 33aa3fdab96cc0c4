"""Published networks: their adapters put weights where they belong, and scores are right."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchmarks import cifar_resnets, efficientnet_lite0, published_resnets, wikitext_sentences


@pytest.mark.parametrize("depth", [14, 20])
def test_the_adapter_of_the_resnets(depth: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    published = published_resnets.ResNet(depth).eval()
    for module in published.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.weight, 0.5, 2.0)
    file = tmp_path / "weights.safetensors"
    save_file(published.state_dict(), file)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        ours = cifar_resnets.load(file, depth)
        torch.testing.assert_close(ours(x), published(x), rtol=1e-4, atol=1e-4)
        folded = cifar_resnets.folded(ours)
        torch.testing.assert_close(folded(x), published(x), rtol=1e-3, atol=1e-3)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())


def test_weights_of_another_depth(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(published_resnets.ResNet(14).state_dict(), file)
    with pytest.raises(SystemExit, match="is not a ResNet-20"):
        cifar_resnets.load(file, 20)


def test_efficientnet_has_the_published_size() -> None:
    """R. Liu, EfficientNet-Lite (2020): 4.7 million parameters, 407 million multiplications."""
    with torch.device("meta"):
        model = efficientnet_lite0.EfficientNetLite0()
        assert sum(p.numel() for p in model.parameters()) == 4_652_008
        assert model(torch.empty(1, 3, 224, 224)).shape == (1, 1000)


def test_efficientnet_with_folded_norms(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = efficientnet_lite0.EfficientNetLite0().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    file = tmp_path / "weights.pth"
    torch.save(model.state_dict(), file)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(efficientnet_lite0.load(file)(x), model(x), rtol=1e-3, atol=1e-4)


TEXT = "\n".join(
    [
        " = A heading = ",
        " A first sentence has enough words , of course , here . It is short ."
        " The second one has a twenty @-@ year date in it .",
        " The <unk> sentence is left out because of its words ."
        " Only this one remains in its paragraph , and alone .",
    ]
)


def test_sentences_of_a_paragraph(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text(TEXT)
    first = ("A first sentence has enough words, of course, here.",)
    second = ("The second one has a twenty-year date in it.",)
    assert wikitext_sentences.pairs([file], 1) == [first + second]
    with pytest.raises(SystemExit, match="only 1 paragraphs"):
        wikitext_sentences.pairs([file], 2)


class Table(nn.Module):
    """Embeddings by the first token."""

    def __init__(self, vectors: torch.Tensor) -> None:
        super().__init__()
        self.vectors = vectors

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.vectors[ids[:, 0]]


def test_retrieval_counts_partners() -> None:
    minilm = pytest.importorskip("benchmarks.minilm", reason="needs transformers")
    angles = torch.tensor([0.0, 0.1, 1.0, 2.0])  # the nearest of number 3 is its partner 2
    vectors = torch.stack([angles.cos(), angles.sin()], 1)

    def tokenizer(texts: list[str]) -> dict[str, list[list[int]]]:
        return {"input_ids": [[int(text)] * (4 - int(text)) for text in texts]}

    sentences = minilm.Sentences(["0", "1", "2", "3"], tokenizer, size=3)
    digital = sentences.embeddings(Table(vectors))
    assert torch.equal(digital, vectors)  # in the order of the texts, not of their lengths
    found = minilm.Retrieval(sentences, digital)(Table(vectors))
    assert found == pytest.approx({"cosine": 1.0, "recall@1": 3 / 4, "MRR": (3 + 1 / 3) / 4})


def test_minilm_without_its_weights(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    minilm = pytest.importorskip("benchmarks.minilm", reason="needs transformers")
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package")
    monkeypatch.setattr("sys.argv", ["minilm", "--data-dir", "."])
    minilm.main()
    assert "skipped: the weights are missing" in capsys.readouterr().out
