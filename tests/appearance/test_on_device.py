"""Batches drawn by PyTorch, on the CPU's tensors and on a card where there is one, equal what OpenCV draws
frame after frame."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from repository import EXAMPLES

from mytalk_core.appearance.covers.cover import FREE, Cover
from mytalk_core.appearance.fade import BLACK, WHITE
from mytalk_core.appearance.generator_renderer import GeneratorRenderer
from mytalk_core.appearance.network_renderer import NetworkRenderer
from mytalk_core.appearance.networks.generator import AppearanceConfig, AppearanceGenerator
from mytalk_core.appearance.networks.refiner import MouthRefiner, RefinerConfig
from mytalk_core.appearance.on_device.raster import cover
from mytalk_core.appearance.on_device.windows import Windows, averaging, blurring, enlarging, resizing
from mytalk_core.appearance.references.references import read_references
from mytalk_core.appearance.references.texture_model import FEWEST
from mytalk_core.appearance.square.crop import cut_crop
from mytalk_core.appearance.square.raster import draw_triangles, triangulate
from mytalk_core.appearance.square.reading import gathered_at, read_at
from mytalk_core.appearance.square.window import Window
from mytalk_core.appearance.warp_renderer import TOGETHER, WarpRenderer, WarpSettings
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.reader import load_face_reader
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.remux import copy_untagged
from mytalk_core.pipeline import stages

LAYOUT = LandmarkLayout.load("mesh478")
FRAMES = np.array([0, 3, 6, 9, 12])
# Of the new pixels, those that may differ by more than a level: where a row of the seam between closed lips
# is read from above in one and from below in the other.
FEW = 1.5e-4
pytestmark = pytest.mark.skipif(cv2.__version__ < "5", reason="OpenCV 4 reads at whole 32nds of a pixel only")


@pytest.fixture(
    params=[
        "cpu",
        pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no card")),
    ]
)
def device(request, monkeypatch):
    """Where batches are drawn; networks with all digits, as on the CPU."""
    monkeypatch.setattr("torch.backends.cudnn.allow_tf32", False)
    return request.param


@pytest.fixture(scope="module", params=["ai_woman", "cartoon_boy"])
def scene(request, tmp_path_factory):
    """Frames of a clip, their crops, and landmarks to be drawn: as they are, of another frame, closed, nearly
    closed and wide open."""
    path = tmp_path_factory.mktemp("clip") / "a.mp4"
    copy_untagged(EXAMPLES / f"{request.param}.mp4", path, 0.6)
    clip = FileClip.open(path)
    face = stages.track(load_face_reader("cpu"), clip).choose("largest")
    size = {"ai_woman": 352, "cartoon_boy": 256}[request.param]
    references = read_references(clip, face, np.arange(0, len(clip), 3), size, LAYOUT)
    crops = [cut_crop(picture.rgb, face.similarity[picture.index], size) for picture in clip.pictures(FRAMES)]
    source = face.canonical[FRAMES].astype(np.float32)
    targets = source.copy()
    targets[1] = source[4]
    half = len(LAYOUT.lips_inner) // 2
    lower, upper = LAYOUT.lips_inner[1:half], LAYOUT.lips_inner[:half:-1]
    for row, opening in ((2, 0.0), (3, 1.4), (4, 16.0)):
        moved = targets[row, upper, 1] + opening - targets[row, lower, 1]
        targets[row, lower, 1] += moved
        for jaw in (LAYOUT.jaw[4:-4], LAYOUT.lips_outer[: len(LAYOUT.lips_outer) // 2]):
            targets[row, jaw, 1] += moved.mean()
    return (clip.height, clip.width), face.similarity[FRAMES], references, np.stack(crops), source, targets


def stirred(network):
    """A network whose last layers, zero at the start, do something."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def both(renderer, crops, source, targets, seen=None, other=None):
    """What OpenCV and what PyTorch makes of a batch; other: what draws by PyTorch, if another."""
    rows = np.arange(len(crops))
    inside = [None] * len(crops) if seen is None else seen
    frames = [renderer.prepared(row, row, crops[row], source[row], targets[row], inside[row]) for row in rows]
    return renderer.render_sequentially(crops, frames), (other or renderer).render_batched(crops, frames)


def enough(references):
    """As many as a texture model is made of."""
    numbers = np.arange(FEWEST)
    return replace(references.take(numbers % len(references)), frame_index=numbers)


def assert_alike(one, other, given, times=1):
    """The same within a level, but for a few, and so many times as few; which pixels are pasted at all is the
    same to the last one."""
    crops, alpha = other.crops, other.alpha
    np.testing.assert_allclose(alpha, one.alpha, atol=1e-5)
    new = one.alpha > 0
    assert np.array_equal(alpha > 0, new)
    assert new.mean() > 0.05 and not np.array_equal(crops[new], given[new])
    difference = np.abs(crops.astype(int) - one.crops)
    assert difference[~new].max() <= 1
    difference = difference[new]
    assert difference.mean() < 0.01 * times
    assert (difference > 1).mean() < FEW * times and difference.max() < 24


def stretched(size):
    """A generator of tiny size for mesh478 whose pictures are `size`."""
    config = AppearanceConfig(
        landmark_layout="mesh478", size=size, width=8, multipliers=(1, 2), blocks=1, groups=4, fusion_width=8
    )
    return AppearanceGenerator(config).eval()


@pytest.mark.parametrize(
    "settings",
    [
        WarpSettings(),
        WarpSettings(colour_match=False, detail=1.0, feather=30.0),
        WarpSettings(detail=0.0),
        WarpSettings(detail=2000.0),
    ],
)
def test_warped_references(scene, settings, device):
    _, _, references, crops, source, targets = scene
    renderer = WarpRenderer(references, targets, LAYOUT, settings=settings, device=device)
    assert_alike(*both(renderer, crops, source, targets), crops)


def test_frames_out_of_focus(scene, device):
    _, _, references, crops, source, targets = scene
    renderer = WarpRenderer(references, targets, LAYOUT, device=device)
    soft = np.stack([cv2.GaussianBlur(crop, (0, 0), 3.0) for crop in crops])
    frame = renderer.prepared(0, 0, soft[0], source[0], targets[0], None)
    assert frame.blur.min() > 1
    assert_alike(*both(renderer, soft, source, targets), soft)


@pytest.mark.parametrize("colour", [BLACK, WHITE])
def test_frames_in_a_fade(scene, colour, device):
    _, _, references, crops, source, targets = scene
    renderer = WarpRenderer(references, targets, LAYOUT, device=device)
    faded = np.rint(0.6 * crops + 0.4 * colour).astype(np.uint8)
    fade = renderer.prepared(0, 0, faded[0], source[0], targets[0], None).fade
    assert fade.colour == colour and fade.left < 0.7
    assert_alike(*both(renderer, faded, source, targets), faded)


def test_lips_drawn_towards_a_texture_model(scene, device):
    _, _, references, crops, source, targets = scene
    many = enough(references)
    renderer = WarpRenderer(many, targets, LAYOUT, device=device)
    off = WarpRenderer(many, targets, LAYOUT, settings=WarpSettings(texture_model=False), device=device)
    inside = np.ones((len(crops), 256, 256), bool)
    for seen in (inside, np.concatenate([inside[:3], inside[3:] & (np.arange(256) < 200)])):
        seen = [part if not part.all() else None for part in seen]
        one, other = both(renderer, crops[:4], source[:4], targets[:4], seen)
        assert_alike(one, other, crops[:4])
    assert np.abs(other.crops.astype(int) - both(off, crops[:4], source[:4], targets[:4])[1].crops).max() > 2


def test_refined_lips_drawn_towards_a_texture_model(scene, device):
    _, _, references, crops, source, targets = scene
    many = enough(references)
    refiner = stirred(MouthRefiner(RefinerConfig(width=8, widths=(16, 16))))
    one, other = (
        NetworkRenderer(deepcopy(refiner).to(place), many, targets, LAYOUT) for place in ("cpu", device)
    )
    assert one.prepared(0, 0, crops[0], source[0], targets[0], None).texture is not None
    assert_alike(*both(one, crops, source, targets, other=other), crops, times=5)


def test_refined_references(scene, device):
    _, _, references, crops, source, targets = scene
    refiner = stirred(MouthRefiner(RefinerConfig(width=8, widths=(16, 16))))
    one, other = (
        NetworkRenderer(deepcopy(refiner).to(place), references, targets, LAYOUT) for place in ("cpu", device)
    )
    # What the network nudges OpenCV reads at thirty-seconds of a pixel, twice.
    assert_alike(*both(one, crops, source, targets, other=other), crops, times=5)


def test_generated_mouths(scene, device):
    _, _, references, crops, source, targets = scene
    renderer = GeneratorRenderer(stretched(64).to(device), references, targets, LAYOUT)
    assert_alike(*both(renderer, crops, source, targets), crops)


def test_at_the_frames_edge_and_with_references_that_saw_less(scene, device):
    _, _, references, crops, source, targets = scene
    seen = np.ones((len(references), 256, 256), bool)
    seen[::2, :, 150:] = False
    seen[1, 190:] = False
    inside = np.ones((len(crops), 256, 256), bool)
    inside[:2, :, 200:] = False
    renderer = WarpRenderer(replace(references, seen=seen), targets, LAYOUT, device=device)
    one, other = both(renderer, crops, source, targets, inside)
    assert_alike(one, other, crops)


def test_frames_that_nothing_is_known_of_stay(scene):
    _, similarity, references, crops, source, targets = scene
    nothing = replace(references, seen=np.zeros((len(references), 256, 256), bool))
    renderer = WarpRenderer(nothing, targets, LAYOUT)
    for rendering in both(renderer, crops, source, targets):
        assert np.array_equal(rendering.crops, crops) and not rendering.alpha.any()
    assert rendering.patches((256, 256), similarity, [FREE] * 5, [1.0] * 5) == [None] * len(crops)


def test_patches_are_those_of_the_cpu(scene, device):
    frame, similarity, references, crops, source, targets = scene
    renderer = WarpRenderer(references, targets, LAYOUT, device=device)
    renderings = both(renderer, crops, source, targets)
    matte = np.zeros((256, 256), np.float32)
    matte[:, 128:] = 1
    covers = [FREE, Cover(matte), Cover(faded=0.5), FREE, FREE]
    shares, far = [1.0, 1.0, 1.0, 0.25, 1.0], similarity.copy()
    far[4, :, 2] -= 5000
    far[3] *= 4.5  # a face that is so much smaller
    ours, theirs = (one.patches(frame, far, covers, shares) for one in renderings)
    assert ours[4] is None and theirs[4] is None
    for one, other in zip(ours[:4], theirs[:4], strict=True):
        assert (one.top, one.left, one.alpha.shape) == (other.top, other.left, other.alpha.shape)
        np.testing.assert_allclose(other.alpha, one.alpha, atol=1e-4)
        difference = np.abs(one.rgb.astype(int) - other.rgb)[one.alpha > 0]
        assert difference.mean() < 0.01 and (difference > 1).mean() < FEW


@pytest.mark.parametrize(("gigabytes", "most"), [(None, 3), (8, 3), (24, 10), (80, TOGETHER)])
def test_a_device_is_given_several_frames_at_once_as_many_as_fit(scene, monkeypatch, gigabytes, most):
    card = SimpleNamespace(total_memory=(gigabytes or 0) << 30)
    monkeypatch.setattr("torch.cuda.is_available", lambda: gigabytes is not None)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: card)
    references, targets = scene[2], scene[5]
    assert WarpRenderer(references, targets, LAYOUT).together == 1
    assert WarpRenderer(references, targets, LAYOUT, device="cuda").together == TOGETHER
    large = replace(references, crops=np.broadcast_to(np.uint8(0), (len(references), 768, 768, 3)))
    assert WarpRenderer(large, targets, LAYOUT, device="cuda").together == most


@pytest.mark.parametrize("noise", [0.0, 3.0, 20.0], ids=["smooth", "folded", "torn"])
def test_every_pixel_has_the_triangle_that_is_drawn_last(noise, device):
    mesh, rng = triangulate(LAYOUT), np.random.default_rng(0)
    landmarks = LAYOUT.template[:, :2] + rng.normal(0, noise, (3, LAYOUT.points, 2))
    vertices = mesh.vertices(landmarks)
    own = [Window(104, 48, 248, 208), Window(0, 0, 256, 256), Window(136, 72, 216, 184)]
    places = [(Windows(own, torch.device(device)), 256), (Windows(own[::-1], torch.device(device)), 416)]
    for (windows, size), found in zip(places, cover(vertices, mesh, places), strict=True):
        for points, window, triangle in zip(vertices, windows.own, found.cpu().numpy(), strict=True):
            expected = draw_triangles(points, mesh, window.pixels(size), size)
            beyond = [(0, whole - side) for whole, side in zip(triangle.shape, expected.shape, strict=True)]
            assert np.array_equal(triangle, np.pad(expected, beyond, "edge"))


@pytest.mark.parametrize("sigma", [0.8, 2.5, 10.0])
def test_matrices_do_what_opencv_does(sigma):
    grid = np.random.default_rng(0).random((40, 56)).astype(np.float32)
    pairs = {
        "blur": (lambda n: blurring(n, sigma), cv2.GaussianBlur(grid, (0, 0), sigma)),
        "average": (lambda n: averaging(n, 9), cv2.blur(grid, (9, 9))),
        "enlarge": (lambda n: resizing(n, 2 * n), cv2.resize(grid, (112, 80))),
        "part": (lambda n: enlarging(n, 8, 16, 26), cv2.resize(grid[8:24, 8:24], (26, 26))),
        "shrink": (
            lambda n: resizing(n, n // 8 * 5, cv2.INTER_AREA),
            cv2.resize(grid, (35, 25), interpolation=cv2.INTER_AREA),
        ),
    }
    for name, (axis, expected) in pairs.items():
        np.testing.assert_allclose(axis(40) @ grid @ axis(56).T, expected, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear"])
@pytest.mark.parametrize("beyond", ["border", "zeros"])
def test_pictures_are_read_alike_where_pytorch_cannot(kernel, beyond):
    torch.manual_seed(0)
    pictures, coordinates = torch.rand(2, 3, 9, 12), torch.rand(2, 2, 30, 20) * 20 - 4
    expected = read_at(pictures, coordinates, kernel, beyond)
    torch.testing.assert_close(
        gathered_at(pictures, coordinates, kernel, beyond), expected, atol=1e-5, rtol=0
    )
