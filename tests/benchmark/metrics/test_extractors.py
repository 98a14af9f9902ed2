"""The published extractors, with random weights in the published files' format."""

from __future__ import annotations

import dataclasses
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch.testing import assert_close
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from benchmark.errors import UserError
from benchmark.metrics.extractors import inception_extractor
from benchmark.metrics.perceptual import alexnet_lpips, lpips_distance, mean_distance
from benchmark.metrics.weights import ALEXNET, INCEPTION, find_weights, load_weights
from tests.helpers import one_line


@pytest.fixture(scope="module")
def weights_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both official files, with random weights: names, keys, shapes and format are theirs."""
    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng(devices=[]), pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(0)
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        patch.setattr(torch, "load", lambda *args, **kwargs: {})
        inception = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path="-")
        alexnet = torchvision.models.alexnet(weights=None)
    torch.save(inception.state_dict(), folder / INCEPTION.name)
    torch.save(alexnet.state_dict(), folder / ALEXNET.name)
    return folder


def images(count: int) -> torch.Tensor:
    stream = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, 16, 16), generator=stream, dtype=torch.uint8)


def refused(call: Any) -> str:
    with pytest.raises(UserError) as caught:
        call()
    return one_line(str(caught.value))


def test_dropping_in_the_two_files_is_all_a_user_does(
    weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFKD_WEIGHTS", str(weights_dir))
    extractor = inception_extractor(None)
    assert extractor.name == "inception"
    seen = extractor.extract(images(2))
    assert seen.features.shape == (2, 2048)
    assert seen.logits.shape == (2, 1008)
    with torch.no_grad():
        distances = extractor.distance(images(2), images(2).flip(0))
    assert distances.shape == (2,)
    assert distances[0] > 0
    assert extractor.checksum == inception_extractor(weights_dir).checksum


def test_the_published_networks_numbers_do_not_depend_on_the_batch_size(weights_dir: Path) -> None:
    extractor = inception_extractor(weights_dir)
    whole = extractor.extract(images(4))
    by_three = dataclasses.replace(extractor, batch=3).extract(images(4))
    assert_close(by_three.features, whole.features, rtol=1e-4, atol=1e-5)
    assert_close(by_three.logits, whole.logits, rtol=1e-4, atol=1e-5)
    assert whole.features.std() > 0
    pairs = torch.combinations(torch.arange(4))
    found = [mean_distance(extractor.distance, images(4), pairs, n, "cpu") for n in (2, 6)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert found[0] > 0


def test_lpips_has_the_trunk_of_the_file(weights_dir: Path) -> None:
    trunk = load_weights(weights_dir / ALEXNET.name)
    metric = alexnet_lpips(weights_dir / ALEXNET.name)
    loaded = metric.net.state_dict()
    assert len(loaded) == 10
    for name, value in loaded.items():
        assert torch.equal(value, trunk["features." + name.partition(".")[2]])
    distance = lpips_distance(metric)
    with torch.no_grad():
        assert distance(images(3), images(3)).abs().max() < 1e-6
        enlarged = torch.nn.functional.interpolate(
            images(2).float() / 127.5 - 1, size=(64, 64), mode="bilinear"
        )
        expected = metric(enlarged, enlarged.flip(0)).flatten()
        assert torch.allclose(distance(images(2), images(2).flip(0)), expected)


def test_a_missing_file_is_named_with_the_places_and_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refused(lambda: find_weights(INCEPTION, tmp_path))
    for part in (INCEPTION.name, str(tmp_path), INCEPTION.url, "--weights-dir"):
        assert part in message

    def offline(url: str, timeout: float) -> Any:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    message = refused(lambda: find_weights(ALEXNET, None))
    for part in (ALEXNET.name, "cannot be downloaded", "no route", "DFKD_WEIGHTS"):
        assert part in message


def test_a_download_is_kept_only_when_it_is_the_published_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    sent = tmp_path / "sent"
    sent.write_bytes(b"a login page")
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: sent.open("rb"))
    assert "another file" in refused(lambda: find_weights(ALEXNET, None))


def test_a_file_that_would_execute_code_is_refused(tmp_path: Path) -> None:
    class Executes:
        def __reduce__(self) -> Any:
            return (print, ("executed",))

    torch.save({"weight": Executes()}, tmp_path / "x.pth")
    assert "cannot be read" in refused(lambda: load_weights(tmp_path / "x.pth"))
    (tmp_path / "y.pth").write_bytes(b"half a file")
    assert "cannot be read" in refused(lambda: load_weights(tmp_path / "y.pth"))
    torch.save([1], tmp_path / "z.pth")
    assert "no table of tensors" in refused(lambda: load_weights(tmp_path / "z.pth"))


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / ALEXNET.name)
    torch.save({"weight": torch.zeros(2)}, tmp_path / INCEPTION.name)
    assert "is not torchvision's AlexNet" in refused(lambda: alexnet_lpips(tmp_path / ALEXNET.name))
    assert "is not torch-fidelity's Inception" in refused(lambda: inception_extractor(tmp_path))
