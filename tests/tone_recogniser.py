"""A tiny Conformer that has learned the tone corpus, so that its transcripts mean something."""

from pathlib import Path

import soundfile
import torch

from antiphon.modeling import ConformerConfig, ConformerForCTC
from antiphon.processing import CharacterTokenizer, ConformerProcessor, LogMelFeatureExtractor
from antiphon.processing.corpora import load_corpus

STEPS = 120


def train_tone_recogniser(corpus: Path, folder: Path) -> tuple[ConformerForCTC, ConformerProcessor]:
    """Trains on the whole corpus for some seconds, saves the checkpoint and returns it."""
    rows = load_corpus(str(corpus))
    texts = rows["text"][:]
    waveforms = [soundfile.read(audio["path"], dtype="float32")[0] for audio in rows["audio"]]
    sampling_rate = soundfile.info(rows[0]["audio"]["path"]).samplerate
    extractor = LogMelFeatureExtractor(
        feature_size=16, sampling_rate=sampling_rate, hop_length=80, win_length=200, n_fft=256
    )
    processor = ConformerProcessor(extractor, CharacterTokenizer.from_corpus(texts), subsampling_factor=2)
    torch.manual_seed(0)
    config = ConformerConfig(
        vocab_size=len(processor.tokenizer), num_mel_bins=16, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, subsampling_factor=2, subsampling_channels=8, conv_kernel_size=7, hidden_dropout=0.05,
        num_time_masks=0, num_frequency_masks=0,
    )  # fmt: skip
    model = ConformerForCTC(config).train()
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=STEPS, pct_start=0.2)
    batch = processor(audio=waveforms, text=texts, sampling_rate=sampling_rate)
    for _ in range(STEPS):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return model, processor
