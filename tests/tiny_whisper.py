"""A tiny Whisper with random weights and a tokenizer of bytes, made without a network; it hears two seconds."""

import importlib.util
from pathlib import Path

import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

SAMPLING_RATE = 16_000
WINDOW_SECONDS = 2
NEEDS_PEFT = pytest.mark.skipif(
    importlib.util.find_spec("peft") is None, reason="peft is not installed: pip install antiphon[lora]"
)
# Whisper's own order: a language's token is found by its place after <|startoftranscript|>.
SPECIAL_TOKENS = (
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|zh|>", "<|de|>", "<|translate|>", "<|transcribe|>",
    "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
)  # fmt: skip


def make_processor() -> WhisperProcessor:
    """Bytes as tokens, the special tokens after them, 16 mel bands."""
    vocabulary = {symbol: index for index, symbol in enumerate(sorted(ByteLevel.alphabet()))}
    vocabulary |= {token: len(vocabulary) + index for index, token in enumerate(SPECIAL_TOKENS)}
    tokenizer = WhisperTokenizer(
        vocab=vocabulary, merges=[], pad_token="<|endoftext|>", additional_special_tokens=list(SPECIAL_TOKENS[1:])
    )
    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=WINDOW_SECONDS)
    return WhisperProcessor(extractor, tokenizer)


def make_config(tokenizer: WhisperTokenizer, **changes) -> WhisperConfig:
    """Two layers of width 32 on each side."""
    end, start = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|startoftranscript|>"])
    tiny = {
        "vocab_size": len(tokenizer),
        "num_mel_bins": 16,
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "max_source_positions": 100 * WINDOW_SECONDS // 2,
        "max_target_positions": 32,
        "decoder_start_token_id": start,
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "suppress_tokens": [],
        "begin_suppress_tokens": [end],
    }
    return WhisperConfig(**(tiny | changes))


def make_model(processor: WhisperProcessor, seed: int = 0, **changes) -> WhisperForConditionalGeneration:
    """In evaluation mode, with the entries in its generation configuration that a multilingual Whisper has."""
    torch.manual_seed(seed)
    tokenizer = processor.tokenizer
    model = WhisperForConditionalGeneration(make_config(tokenizer, **changes)).eval()
    ids = dict(zip(SPECIAL_TOKENS, tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS))))
    model.generation_config = GenerationConfig(
        decoder_start_token_id=model.config.decoder_start_token_id,
        bos_token_id=model.config.bos_token_id,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
        begin_suppress_tokens=model.config.begin_suppress_tokens,
        max_length=model.config.max_target_positions,
        is_multilingual=True,
        lang_to_id={token: ids[token] for token in ("<|en|>", "<|zh|>", "<|de|>")},
        task_to_id={task: ids[f"<|{task}|>"] for task in ("translate", "transcribe")},
        no_timestamps_token_id=ids["<|notimestamps|>"],
    )
    return model


def write_whisper(folder: Path, seed: int = 0, **changes) -> Path:
    """Writes a checkpoint as the Hub holds them."""
    processor = make_processor()
    make_model(processor, seed, **changes).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
