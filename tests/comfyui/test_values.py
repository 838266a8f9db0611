"""What travels on the sockets: lazy frames, videos that render while they are saved, odd inputs."""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

HEIGHT, WIDTH = 50, 70


@pytest.fixture
def images() -> torch.Tensor:
    """IMAGE of 16 frames that differ."""
    rows = torch.linspace(0.2, 0.8, 16)[:, None, None, None]
    return (rows * torch.ones(16, HEIGHT, WIDTH, 3)).clone()


@pytest.fixture
def clip_video(part, images):
    """A VIDEO of our own made from those frames at 16 a second."""
    return part("nodes.video").ClipVideo(part("nodes.clips").to_clip(images, 16.0))


def probe(path: Path) -> tuple[int, float, tuple[int, int]]:
    """Frames, frames a second, (width, height)."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        return len(frames), float(stream.average_rate), (stream.width, stream.height)


class TestLazyTensor:
    @pytest.fixture
    def counted(self, part):
        calls = []

        def make() -> torch.Tensor:
            calls.append(1)
            return torch.arange(24.0).reshape(2, 3, 4)

        return part("nodes.lazy").LazyTensor((2, 3, 4), make), calls

    def test_describing_it_makes_nothing(self, counted):
        lazy, calls = counted
        assert lazy.shape == (2, 3, 4) and len(lazy) == 2 and lazy.ndim == 3 and lazy.numel() == 24
        assert lazy.dtype == torch.float32 and lazy.device.type == "cpu" and isinstance(lazy, torch.Tensor)
        assert calls == []

    @pytest.mark.parametrize(
        "use",
        [
            lambda lazy: lazy[1].numpy(),
            lambda lazy: lazy.cpu().numpy()[1],
            lambda lazy: np.asarray(lazy)[1],
            lambda lazy: torch.cat([lazy, lazy])[1].numpy(),
            lambda lazy: (255.0 * lazy)[1].numpy() / 255.0,
            lambda lazy: [frame.cpu().numpy() for frame in lazy][1],
            lambda lazy: torch.nn.functional.pad(lazy, (0, 0))[1].numpy(),
            lambda lazy: lazy.movedim(-1, 1).contiguous().movedim(1, -1)[1].numpy(),
        ],
    )
    def test_every_use_sees_the_values_made_once(self, counted, use):
        lazy, calls = counted
        expected = np.arange(12.0, 24.0).reshape(3, 4)
        np.testing.assert_allclose(use(lazy), expected)
        np.testing.assert_allclose(use(lazy), expected)
        assert calls == [1]

    def test_too_many_frames_are_refused_with_the_remedy(self, part):
        with pytest.raises(MemoryError, match="VIDEO output"):
            part("nodes.lazy").check_memory((10**9, 1080, 1920, 3))


class TestToClip:
    def test_an_image_batch_takes_the_given_rate(self, part, images):
        clip = part("nodes.clips").to_clip(images, 16.0)
        assert (len(clip), clip.fps, clip.duration_s) == (16, Fraction(16), 1.0)

    @pytest.mark.parametrize("rate, exact", [(29.97, Fraction(30000, 1001)), (23.976, Fraction(24000, 1001))])
    def test_broadcast_rates_are_exact(self, part, images, rate, exact):
        assert part("nodes.clips").to_clip(images, rate).fps == exact

    @pytest.mark.parametrize("channels", [1, 4])
    def test_one_and_four_channels_are_taken(self, part, images, channels):
        layers = images[..., :1] if channels == 1 else torch.cat([images, images[..., :1] * 0], -1)
        picture = next(part("nodes.clips").to_clip(layers, 16.0).pictures())
        np.testing.assert_allclose(picture.rgb, 51, atol=1)

    def test_a_video_in_memory_is_not_encoded_to_read_it(self, part, images):
        latest = sys.modules["comfy_api.latest"]

        class Held(latest.Input.Video):
            def get_components(self):
                audio = {"waveform": torch.zeros(1, 2, 8000), "sample_rate": 8000}
                return latest.Types.VideoComponents(images=images, frame_rate=Fraction(16), audio=audio)

            def save_to(self, path):
                raise AssertionError("frames were encoded, with loss")

        clip = part("nodes.clips").to_clip(Held(), 25.0)
        assert len(clip) == 16 and clip.has_audio and clip.speech().duration_s == 1.0

    def test_a_trimmed_file_starts_where_it_was_trimmed(self, part, examples_folder):
        latest = sys.modules["comfy_api.latest"]

        class Trimmed(latest.Input.Video):
            def get_stream_source(self):
                return str(examples_folder / "ai_woman.mp4")

            def get_active_trim_window(self):
                return 0.4, 0.2

        clip = part("nodes.clips").to_clip(Trimmed(), 25.0)
        assert len(clip) == 5 and clip.times_s[0] == 0 and not clip.has_audio
        whole = part("mytalk_core.media.file_clip").FileClip.open(examples_folder / "ai_woman.mp4")
        np.testing.assert_array_equal(next(clip.pictures()).rgb, next(whole.pictures([10])).rgb)

    @pytest.mark.parametrize("says_so", [True, False])
    def test_a_video_that_is_still_to_be_cropped_is_never_its_raw_file(
        self, part, examples_folder, folders, says_so
    ):
        """As on newer cores, whose Load Video crops and trims; the first of them did not tell."""
        cropped, written = cropped_video(examples_folder / "ai_woman.mp4", says_so), []
        save_to = cropped.save_to
        cropped.save_to = lambda *args, **settings: written.append(settings) or save_to(*args, **settings)
        clips = [part("nodes.clips").to_clip(cropped, 25.0) for _ in range(2)]
        assert written == [{"format": "mkv", "codec": "h264", "crf": 0}]
        for clip in clips:
            assert (len(clip), clip.width, clip.height) == (5, 200, 160) and clip.times_s[0] == 0
        assert [path.suffix for path in (folders / "temp").iterdir()] == [".mkv"]
        whole = part("mytalk_core.media.file_clip").FileClip.open(examples_folder / "ai_woman.mp4")
        [raw], [shown] = whole.pictures([10]), clips[0].pictures([0])
        # The same samples; what RGB is at the crop's edge, chroma's neighbours decide.
        inner = raw.rgb[102:258, 52:248].astype(int)
        assert np.abs(inner - shown.rgb[2:-2, 2:-2]).max() <= 2

    def test_a_video_of_a_newer_core_without_edits_is_its_file(self, part, examples_folder, folders):
        plain = cropped_video(examples_folder / "ai_woman.mp4", True)
        plain.has_pending_frame_edits = lambda: False
        plain.get_active_trim_window = lambda: (0.0, 0.0)
        clip = part("nodes.clips").to_clip(plain, 25.0)
        assert clip.files == (examples_folder / "ai_woman.mp4",) and not [*(folders / "temp").iterdir()]


def cropped_video(path: Path, says_so: bool) -> object:
    """A VIDEO as newer cores have it: frames 10 to 14 of a file, 200 x 160 px of each from (50, 100) on."""
    latest = sys.modules["comfy_api.latest"]

    class Cropped(latest.Input.Video):
        if says_so:
            has_pending_frame_edits = lambda self: True  # noqa: E731

        def as_cropped(self, *edges):
            raise NotImplementedError

        def get_stream_source(self):
            return str(path)

        def get_active_trim_window(self):
            return 0.4, 0.2

        def get_dimensions(self):
            return 200, 160

        def save_to(self, file, format, codec, crf):
            with av.open(str(path)) as source, av.open(file, "w", format="matroska") as target:
                stream = target.add_stream("libx264", rate=25, options={"crf": str(crf)})
                stream.width, stream.height, stream.pix_fmt = 200, 160, "yuv420p"
                for frame in list(source.decode(video=0))[10:15]:
                    planes = frame.to_ndarray()  # (1.5 H, W): luma over both chromas
                    luma, chroma = planes[:512], planes[512:].reshape(2, 256, 256)
                    parts = [luma[100:260, 50:250].ravel(), chroma[:, 50:130, 25:125].ravel()]
                    cut = av.VideoFrame.from_ndarray(np.concatenate(parts).reshape(240, 200), "yuv420p")
                    target.mux(stream.encode(cut))
                target.mux(stream.encode(None))

    return Cropped()


class TestClipVideo:
    def test_saving_renders_every_frame_even_of_an_odd_size(self, part, images, tmp_path, folders):
        video = part("nodes.video").ClipVideo(part("nodes.clips").to_clip(images[:, :49, :69], 16.0))
        video.save_to(str(tmp_path / "a.mp4"), metadata={"prompt": {"1": "x"}})
        assert probe(tmp_path / "a.mp4") == (16, 16.0, (69, 49))
        with av.open(str(tmp_path / "a.mp4")) as container:
            assert container.metadata["prompt"] == '{"1": "x"}'

    def test_what_only_a_newer_core_asks_for_does_not_matter(self, clip_video, tmp_path, folders):
        clip_video.save_to(str(tmp_path / "a.mp4"), format="mp4", codec="auto", preset="ultrafast")
        assert probe(tmp_path / "a.mp4")[:2] == (16, 16.0)

    def test_a_buffer_is_filled_and_no_file_stays(self, clip_video, folders):
        stream = clip_video.get_stream_source()
        stream.seek(0)
        with av.open(stream) as container:
            assert len(list(container.decode(video=0))) == 16
        assert list((folders / "temp").rglob("*")) == []

    def test_cancel_stops_at_the_next_picture_and_leaves_nothing(self, clip_video, tmp_path, monkeypatch):
        management = sys.modules["comfy.model_management"]
        monkeypatch.setattr(management, "cancel_after", 5)
        with pytest.raises(management.InterruptProcessingException):
            clip_video.save_to(str(tmp_path / "a.mp4"))
        assert list(tmp_path.glob("*.mp4")) == [] and list(tmp_path.glob(".*")) == []

    def test_another_server_takes_the_next_number_while_it_is_rendered(
        self, part, clip_video, folders, monkeypatch
    ):
        video, numbered_file = part("nodes.video"), part("nodes.outputs").numbered_file
        write, names = video.write, []

        def meanwhile(clip, path, **settings):
            names.append((path, numbered_file("a", ".mp4", str(folders / "output"))[0]))
            return write(clip, path, **settings)

        monkeypatch.setattr(video, "write", meanwhile)
        combine = part("nodes.combine").VideoCombine
        made = combine.execute(clip_video, 25.0, "h264 (.mp4)", 18, "silence", "a", True, "auto")
        clip_video.save_to(str(folders / "output" / "a_00002_.mp4"))
        assert all(first != second for first, second in names)
        assert probe(Path(made.args[1])) == probe(folders / "output" / "a_00002_.mp4")

    def test_the_live_picture_shows_on_the_node_that_made_it(self, part, clip_video, tmp_path, monkeypatch):
        utils, state = sys.modules["comfy.utils"], sys.modules["comfy_execution.progress"]
        monkeypatch.setattr(utils, "shown", [])
        part("nodes.video").ClipVideo(clip_video.clip, "7").save_to(str(tmp_path / "a.mp4"))
        assert [value for node, value, preview in utils.shown if node is None] == list(range(1, 17))
        pictures = [preview for node, value, preview in utils.shown if node == "7"]
        assert pictures[-1][1].size == (WIDTH, HEIGHT) and state.finished[-1] == "7"

    def test_its_description_needs_no_frame(self, clip_video, monkeypatch):
        monkeypatch.setattr(type(clip_video.clip), "pictures", None)
        assert clip_video.get_dimensions() == (WIDTH, HEIGHT)
        assert (clip_video.get_frame_count(), clip_video.get_duration()) == (16, 1.0)
        assert clip_video.get_components().images.shape == (16, HEIGHT, WIDTH, 3)

    def test_components_are_the_frames(self, clip_video, images):
        torch.testing.assert_close(clip_video.get_components().images + 0, images, atol=1 / 255, rtol=0)

    def test_a_part_of_it(self, clip_video):
        assert clip_video.as_trimmed(-0.5).get_frame_count() == 8
        assert clip_video.as_trimmed(0.5, 2.0, strict_duration=True) is None
        assert clip_video.as_trimmed(2.0) is None

    def test_a_part_begins_with_its_frame_s_sound_and_may_lie_behind_all_sound(self, part, images):
        clips, video = part("nodes.clips"), part("nodes.video")
        times_s = torch.arange(4000) / 8000
        sound = part("nodes.sound").to_speech({"waveform": times_s[None, None], "sample_rate": 8000})
        clip = part("mytalk_core.media.image_clip").ImageClip.from_frames(images.numpy(), 16, sound)
        for cut in (video.ClipVideo(clip).as_trimmed(0.2, 0.1).clip, clips.trimmed(clip, 0.2, 0.1)):
            samples = cut.speech().waveform[0]
            assert len(cut) == 1 and samples[0] == 0.25 and samples[-1] == pytest.approx(0.3, abs=2e-4)
        for cut in (video.ClipVideo(clip).as_trimmed(-0.25).clip, clips.trimmed(clip, 0.5, 0.5)):
            assert len(cut) in (4, 8) and not cut.has_audio

    def test_other_codecs_are_refused_with_the_remedy(self, clip_video, tmp_path):
        with pytest.raises(ValueError, match="Video Combine"):
            clip_video.save_to(str(tmp_path / "a.mp4"), codec="av1")


class TestNodes:
    def test_video_combine_writes_numbered_files_with_the_workflow(self, part, images, folders, monkeypatch):
        combine = part("nodes.combine").VideoCombine
        hidden = SimpleNamespace(prompt={"1": {}}, extra_pnginfo={"workflow": {"nodes": []}})
        monkeypatch.setattr(combine, "hidden", hidden)
        audio = {"waveform": torch.zeros(1, 1, 4000), "sample_rate": 8000}
        for number in (1, 2):
            path = combine.execute(
                images, 16.0, "h264 (.mp4)", 18, "cut_off", "a/b", True, "auto", audio
            ).args[1]
            assert Path(path) == folders / "output" / "a" / f"b_{number:05}_.mp4"
        # The speech lasts half a second, so half of the frames are shown.
        assert probe(Path(path))[0] == 8
        with av.open(path) as container:
            assert '"nodes"' in container.metadata["workflow"] and len(container.streams.audio) == 1

    def test_video_combine_stores_pixels_as_asked(self, part, images, folders):
        combine = part("nodes.combine").VideoCombine
        path = combine.execute(images, 16.0, "h264 (.mp4)", 18, "silence", "b", True, "yuv444p10le").args[1]
        with av.open(path) as container:
            assert container.streams.video[0].format.name == "yuv444p10le"
        with pytest.raises(ValueError, match="choose one of them"):
            combine.execute(images, 16.0, "prores (.mov)", 18, "silence", "b", True, "yuv420p")
        odd = images[:, :49]
        with pytest.raises(ValueError, match="even size"):
            combine.execute(odd, 16.0, "h264 (.mp4)", 18, "silence", "b", True, "yuv420p")

    def test_load_speech_cuts_and_levels(self, part, folders):
        sound = {"waveform": torch.full((1, 2, 8000), 0.1), "sample_rate": 8000}
        speech = part("nodes.load").LoadSpeech.execute("", 0.25, 0.5, 20.0, sound).args[0]
        assert speech["waveform"].shape == (1, 2, 4000) and speech["sample_rate"] == 8000
        torch.testing.assert_close(speech["waveform"], torch.ones(1, 2, 4000))
        with pytest.raises(FileNotFoundError, match="link an AUDIO"):
            part("nodes.load").LoadSpeech.execute("", 0.0, 0.0, 0.0)

    def test_a_motion_survives_its_file(self, part, folders):
        sockets, edit = part("nodes.sockets"), part("nodes.edit")
        motion = part("mytalk_core.motion.motion").Motion(
            np.random.default_rng(0).random((5, 3, 2), np.float32), "mesh478", np.arange(3)
        )
        path = Path(edit.SaveMotion.execute(sockets.Performance(motion), "MyTalk/m").args[0])
        assert edit.motion_files() == ["MyTalk/m_00001_.safetensors [output]"]
        path.rename(folders / "input" / "m.safetensors")
        np.testing.assert_array_equal(
            edit.LoadMotion.execute("m.safetensors").args[0].motion.landmarks, motion.landmarks
        )

    def test_a_video_other_than_the_tracks_is_refused_with_the_remedy(self, part, images):
        clips, same_video = part("nodes.clips"), part("nodes.same_video")
        clip = clips.to_clip(images, 16.0)
        tracked = part("nodes.sockets").TrackedFace(clip, range(16))
        assert same_video.check_frames(clip, tracked) is clip
        with pytest.raises(ValueError, match="same video"):
            same_video.check_frames(clips.to_clip(images[:9], 16.0), tracked)

    def test_feather_widens_the_mask_of_appearance_generate(self, part, examples_folder, monkeypatch):
        sockets, render = part("nodes.sockets"), part("nodes.render")
        arranged, video = part("mytalk_core.media.arranged"), part("mytalk_core.media.file_clip")
        clip = arranged.part_of(video.FileClip.open(examples_folder / "ai_woman.mp4"), 0.0, 0.16)
        track = part("nodes.analyse").own_faces(clip).choose("largest")
        lower = part("mytalk_core.face.layout").LandmarkLayout.load("mesh478").lower
        motion = part("mytalk_core.motion.motion").Motion(track.canonical[:][:, lower], "mesh478", lower)
        monkeypatch.setattr(render.AppearanceGenerate, "hidden", SimpleNamespace(unique_id="7"))
        found = sockets.TrackedFace(clip, track), sockets.Performance(motion)

        def touched(percent: float) -> int:
            made = render.AppearanceGenerate.execute(
                part("nodes.video").ClipVideo(clip), *found, "warp", True, 8.0, percent
            )
            return int((made.args[2] > 0).sum())

        usual = touched(5.0)
        assert touched(2.0) < 0.9 * usual < 0.8 * touched(10.0)

    def test_metrics_of_a_video_against_itself_and_of_a_flat_one(self, part, examples_folder, folders):
        metrics = part("nodes.measure").Metrics
        arranged, video = part("mytalk_core.media.arranged"), part("mytalk_core.media.file_clip")
        clip = arranged.part_of(video.FileClip.open(examples_folder / "ai_woman.mp4"), 0.0, 0.2)
        same = part("nodes.video").ClipVideo(clip)
        blurred = torch.stack([torch.from_numpy(picture.rgb) for picture in clip.pictures()]) / 255
        blurred = torch.nn.functional.avg_pool2d(blurred.movedim(-1, 1), 9, 1, 4).movedim(1, -1)

        def measure(generated: object, same_words: bool) -> tuple[str, dict]:
            made = metrics.execute(same, generated, same_words, "largest", 1, 25.0)
            names = [entry.display_name for entry in metrics.define_schema().outputs]
            return made.args[0], dict(zip(names[1:], made.args[1:], strict=True))

        table, best = measure(same, True)
        assert best["ssim"] == pytest.approx(1) and best["landmark_distance"] == pytest.approx(0, abs=1e-4)
        _, worse = measure(blurred, True)
        assert worse["ssim"] < 0.99 and worse["psnr"] < best["psnr"] and worse["landmark_distance"] > 0
        # Without speech, or for other words, a number is missing and never a wrong one.
        other, unknown = measure(same, False)
        assert "PSNR, mouth" in table and "PSNR, mouth" not in other and "5 frames compared" in other
        assert all(math.isnan(value) for value in unknown.values())

    def test_a_mask_of_any_size_points_at_its_middle(self, part, images):
        analyse, clip = part("nodes.analyse"), part("nodes.clips").to_clip(images, 16.0)
        mask = torch.zeros(3, 100, 140)
        mask[1, 60:81, 100:121] = 1
        place = analyse.mask_place(mask, clip)
        assert (place.x_px, place.y_px) == pytest.approx((55, 35), abs=0.5) and place.time_s is None
        for empty in (None, torch.zeros(1, 10, 10)):
            with pytest.raises(ValueError, match="painted"):
                analyse.mask_place(empty, clip)

    def test_landmarks_of_the_cores_own_detector_make_the_same_track(self, part, examples_folder):
        analyse = part("nodes.analyse")
        arranged, video = part("mytalk_core.media.arranged"), part("mytalk_core.media.file_clip")
        clip = arranged.part_of(video.FileClip.open(examples_folder / "ai_woman.mp4"), 0.0, 0.24)
        own = analyse.own_faces(clip).choose("largest")
        frames = [
            [{"landmarks_xy": points[:, :2], "landmarks_3d": points * 0.4}] for points in own.landmarks[:]
        ]
        given = analyse.given_faces(clip, {"frames": frames}).choose("largest")
        np.testing.assert_allclose(given.landmarks[:], own.landmarks[:], atol=0.1)
        np.testing.assert_allclose(given.similarity, own.similarity, atol=1e-2)

    def test_installed_models_are_found_through_links(self, part, tmp_path, monkeypatch):
        model = tmp_path / "elsewhere"
        (model / "motion").mkdir(parents=True)
        (model / "motion" / "config.json").write_text("{}")
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "mine").symlink_to(model, target_is_directory=True)
        # As linking a folder a second time leaves.
        (model / "elsewhere").symlink_to(model, target_is_directory=True)
        monkeypatch.setitem(sys.modules["folder_paths"].models, "mytalk", [str(tmp_path / "models")])
        assert list(part("nodes.load").installed_models()) == ["mine"]
