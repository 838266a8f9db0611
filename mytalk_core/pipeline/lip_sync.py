"""The whole method as one call: video and speech in, lip-synced video out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

from ..face.choice import FaceChoice
from ..files import check_outputs, replacing
from ..media.clip import Clip
from ..media.source import open_clip
from ..media.timeline import plan_timeline
from ..media.writer import VideoWriter
from ..motion.generate import MotionOptions
from .credentials import Credentials
from .journal import Journal
from .model import LipSync
from .report import Report
from .run import Run, Sources, check_unchanged
from .speakers import voices_of
from .stages import Progress
from .write import write


def lip_sync(
    video: str | Path | Clip,
    speech: str | Path | None,
    output: str | Path,
    *,
    model: LipSync | str | Path = "mini",
    revision: str | None = None,
    renderer: str = "auto",
    face: FaceChoice = "largest",
    speakers: Sequence[tuple[FaceChoice, str | Path]] = (),
    recognition: str | Path | None = None,
    emotion: str | Path | None = None,
    sync_mode: str = "silence",
    frame_rate: Fraction | float | None = None,
    options: MotionOptions | None = None,
    device: str = "auto",
    dtype: str = "auto",
    codec: str | None = None,
    crf: int = 18,
    save_motion: str | Path | None = None,
    save_mask: str | Path | None = None,
    credentials: tuple[str | Path, str | Path] | None = None,
    resume: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Write `output`: the talking `video` with lips that follow `speech`; all else stays the source's.

    A frame without the face passes through untouched; subtitles, chapters and what else the video's file
    holds are copied, or named in `Report.warnings`. So is what one should know before trusting the result
    (`Report.doubts`).

    Args:
        video: any video file with a visible face, a picture, a series or a folder of pictures, or a clip that
        is open.
        speech: any file with sound.
        output: its extension names the container.
        model: a loaded one, or what `LipSync.from_pretrained` takes together with renderer, device, dtype,
        revision and recognition, which are refused beside a loaded one.
        face: whose mouth, see `check_choice`.
        speakers: instead of speech, who says what: each mouth follows its own speech from time 0 on, the
        others stay, and the sound is all speeches at once.
        emotion: a video or picture whose largest face's expression, and how far its mouth opens, the face
        takes on, see `emotional_reference`.
        sync_mode: what is shown where lengths differ, see `plan_timeline`.
        frame_rate: frames a second of a series or folder of pictures, see `open_clip`.
        options: of the motion.
        codec, crf: see `VideoWriter`.
        save_motion: where the motion of the one speaker is written, safetensors.
        save_mask: where it is written which pixels are new, a lossless .mkv.
        credentials: a chain of certificates and the key to sign content credentials with, see `Credentials`.
        resume: keep what is finished in OUTPUT.resume until the output is whole, and go on with what a run of
        the same left there, see `journal`.
        strict: a doubt is an error, before the rendering where the source does not suit, and else at its end,
        when no output takes its name.
        progress: called with the stage, what is done of it, and all.

    Raises FileNotFoundError, MediaError, NoFaceError, WeightsError, where strict DoubtError, or ValueError
    for an argument.
    """
    options = options or MotionOptions()
    progress = progress or (lambda stage, done, total: None)
    report = Report(str(output), seed=options.seed)
    with report.timed("load"):
        voices = voices_of(face, speech, speakers, save_motion)
        clip = open_clip(video, frame_rate)
        sources = Sources(clip, voices, emotion)
        timeline = plan_timeline(clip, sources.sound.duration_s, sync_mode)
        outputs = {"output": output, "save_motion": save_motion, "save_mask": save_mask}
        check_outputs(outputs, [*sources.files, *(credentials or ())])
        signer = None if credentials is None else Credentials.load(*credentials, output)
        # What cannot be written is said before the work, not after it.
        VideoWriter(output, clip, codec=codec, crf=crf, speech=sources.sound, timeline=timeline)
        if save_mask is not None:
            VideoWriter.for_masks(save_mask, clip, timeline=timeline)
        model = _loaded(model, renderer, device, dtype, revision, recognition)
        report.made_by(model)
    run = Run(model, sources, timeline, options, report, strict, progress)
    before = sources.stamps()
    facts = run.facts(sync_mode) if resume else None
    lost: list[str] = []

    def finished() -> None:
        run.check_result()
        check_unchanged(before)

    with Journal.opened(Path(output), facts) as journal, ExitStack() as stack:
        run.track(journal)
        run.speak(journal)
        drawn = run.draw()
        with report.timed("render"):
            # All take their names at the end, the video first.
            if save_motion is not None:
                voices[0].motion.save(stack.enter_context(replacing(save_motion)))
            report.frames_edited = write(
                drawn,
                output,
                sound=sources.sound,
                codec=codec,
                crf=crf,
                masks=save_mask,
                progress=lambda done, total, picture: progress("render", done, total),
                warn=lost.append,
                edits=journal.edits,
                seen=run.see,
                finished=finished,
                seal=None if signer is None else signer.seal(Path(output).name, clip.files),
            )
    run.sum_up(lost)
    return report


def _loaded(
    model: LipSync | str | Path,
    renderer: str,
    device: str,
    dtype: str,
    revision: str | None,
    recognition: str | Path | None,
) -> LipSync:
    """The model, loaded if it is not yet. Raises ValueError for what a loaded one has already."""
    if not isinstance(model, LipSync):
        return LipSync.from_pretrained(
            model,
            renderer=renderer,
            device=device,
            dtype=dtype,
            revision=revision,
            recognition=recognition,
        )
    given: dict[str, str | Path | None] = {
        "renderer": renderer,
        "device": device,
        "dtype": dtype,
        "revision": revision,
        "recognition": recognition,
    }
    for name, value in given.items():
        if value not in ("auto", None):
            raise ValueError(
                f"a {name} is taken where the model is loaded, but a loaded one arrived beside {value!r}: "
                "give it to LipSync.from_pretrained"
            )
    return model
