"""The metrics by name: what each is called, which way is better, where it looks and what it needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """What a metric is called, and how it is read.

    better: "higher" or "lower"; region: "face", "mouth", "frame" or None; paired: compares with what the
    real lips do, so it needs a video that speaks the reference's own words; source: what computes it.
    """

    key: str
    label: str
    unit: str
    better: str
    region: str | None
    paired: bool
    source: str = ""


PAIRED, ANY = True, False
SYNCNET = "SyncNet v2"
EXPERT = "MyTalk sync expert"

METRICS = (
    Metric("psnr_face", "PSNR, face", "dB", "higher", "face", PAIRED),
    Metric("psnr_mouth", "PSNR, mouth", "dB", "higher", "mouth", PAIRED),
    Metric("psnr_frame", "PSNR, frame", "dB", "higher", "frame", PAIRED),
    Metric("ssim_face", "SSIM, face", "", "higher", "face", PAIRED),
    Metric("ssim_mouth", "SSIM, mouth", "", "higher", "mouth", PAIRED),
    Metric("ssim_frame", "SSIM, frame", "", "higher", "frame", PAIRED),
    Metric("lpips_face", "LPIPS (AlexNet), face", "", "lower", "face", PAIRED),
    Metric("lpips_mouth", "LPIPS (AlexNet), mouth", "", "lower", "mouth", PAIRED),
    Metric("lpips_vgg_face", "LPIPS (VGG16), face", "", "lower", "face", PAIRED),
    Metric("lpips_vgg_mouth", "LPIPS (VGG16), mouth", "", "lower", "mouth", PAIRED),
    Metric("fid_face", "FID, face", "", "lower", "face", ANY),
    Metric("fvd_face", "FVD, face", "", "lower", "face", ANY),
    Metric("sync_distance", f"{SYNCNET} distance", "", "lower", None, ANY),
    Metric("sync_confidence", f"{SYNCNET} confidence", "", "higher", None, ANY),
    Metric("sync_offset", f"{SYNCNET} offset", "ms", "lower", None, ANY),
    Metric("expert_distance", f"{EXPERT}, distance", "", "lower", None, ANY),
    Metric("expert_confidence", f"{EXPERT}, confidence", "", "higher", None, ANY),
    Metric("expert_offset", f"{EXPERT}, offset", "ms", "lower", None, ANY),
    Metric("id_arcface", "ID similarity (ArcFace)", "", "higher", "face", ANY),
    Metric("id_sface", "ID similarity (SFace)", "", "higher", "face", ANY),
    Metric("id_landmarks", "ID similarity (face shape)", "", "higher", "face", ANY),
    Metric("lmd_mouth", "LMD, mouth", "% of eye distance", "lower", "mouth", PAIRED),
    Metric("lmd_face", "LMD, face", "% of eye distance", "lower", "face", PAIRED),
    Metric("lip_vertex_error", "LVE, lips", "% of eye distance", "lower", "mouth", PAIRED),
    Metric("temporal_misalignment", "MTM, openings and closings", "ms", "lower", "mouth", PAIRED),
    Metric("opening_correlation", "Opening correlation", "", "higher", "mouth", PAIRED),
    Metric("opening_kept", "Opening varies as the real one", "% of clips", "higher", "mouth", PAIRED),
    Metric("opening_jitter", "Jitter of the opening", "eye distances/s³", "lower", "mouth", ANY),
    Metric("intensity_correlation", "SLCC, over seconds", "", "higher", "mouth", ANY),
    Metric("closure_rate", "Lips closed on p, b, m", "% of them", "higher", "mouth", ANY),
    Metric("silence_closed", "Lips closed in silence", "% of silent frames", "higher", "mouth", ANY),
    Metric("lip_leak", "LipLeak", "% of silent frames", "lower", "mouth", ANY),
    Metric("flicker_face", "Flicker, face", "levels", "lower", "face", ANY),
    Metric("flicker_mouth", "Flicker, mouth", "levels", "lower", "mouth", ANY),
    Metric("teeth_stretch", "Teeth stretch with the lips", "dB", "lower", "mouth", ANY),
    Metric("outside_face", "Outside-mask change, face", "levels", "lower", "face", ANY),
    Metric("outside_frame", "Outside-mask change, frame", "levels", "lower", "frame", ANY),
)
KEYS = tuple(metric.key for metric in METRICS)


def check_keys(keys: list[str] | tuple[str, ...]) -> frozenset[str]:
    """The keys as a set; ValueError names those that no metric has."""
    unknown = sorted(set(keys) - set(KEYS))
    if unknown:
        raise ValueError(f"no such metric: {', '.join(unknown)}; there are {', '.join(KEYS)}")
    return frozenset(keys)
