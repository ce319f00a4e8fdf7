"""Writes golden_speech.npz: what Kaldi's code makes of a short waveform. Needs kaldi-native-fbank 1.23.0.

    python tests/transforms/make_golden_speech.py

Names are `waveform/RATE` (float32 in [-1, 1]), and `log_mel/RATE` and `mfcc/RATE` with its features.
"""

import pathlib

import kaldi_native_fbank as knf
import numpy as np

FILE = pathlib.Path(__file__).parent / "golden_speech.npz"
FRAMES = 6


def main() -> None:
    arrays = {}
    for rate, mels in ((8_000, 40), (16_000, 80)):
        rng = np.random.default_rng(rate)
        size = int(rate * (0.025 + 0.01 * (FRAMES - 1))) + rate // 200
        time = np.arange(size) / rate
        waveform = 0.3 * np.sin(2 * np.pi * 220 * time) + 0.05 * rng.standard_normal(size) + 0.02
        waveform[: size // 4] *= 1e-3
        arrays[f"waveform/{rate}"] = waveform = waveform.astype(np.float32)
        for kind in ("log_mel", "mfcc"):
            options = knf.FbankOptions() if kind == "log_mel" else knf.MfccOptions()
            options.frame_opts.dither = 0
            options.frame_opts.samp_freq = rate
            options.mel_opts.num_bins = mels if kind == "log_mel" else 23
            if kind == "mfcc":
                options.num_ceps = 13
            made = (knf.OnlineFbank if kind == "log_mel" else knf.OnlineMfcc)(options)
            made.accept_waveform(rate, (waveform * 32768).tolist())
            made.input_finished()
            frames = [made.get_frame(i) for i in range(made.num_frames_ready)]
            arrays[f"{kind}/{rate}"] = np.stack(frames).astype(np.float32)
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main()
