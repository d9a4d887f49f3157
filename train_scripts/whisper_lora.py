"""Low-rank adaptation of a Whisper: the matrices that learn, and their merge into the weights, which is checked."""

import importlib.util
from collections.abc import Callable

from transformers import WhisperForConditionalGeneration

from .recipes import RecipeError, with_defaults
from .whisper_answers import Answers

LORA_DEFAULTS = {"r": 32, "alpha": 64, "dropout": 0.05, "target_modules": ["q_proj", "v_proj"]}
# Merging rounds sums of float32 anew, which moves logits by about a millionth of the largest; a wrong merge moves them
# by more than a hundredth. A few near ties in a thousand words may fall the other way.
MAX_LOGIT_CHANGE = 1e-3
MAX_WER_CHANGE = 0.005


def complete_lora(options: dict | None) -> dict | None:
    """Fills in a recipe's `model.lora`; None asks for all weights to learn.

    Raises:
        RecipeError: for an unknown key, a value that is of the wrong kind, or where peft is not installed.
    """
    if options is None:
        return None
    lora = with_defaults(options, LORA_DEFAULTS, "`model.lora`")
    if not isinstance(lora["r"], int) or lora["r"] < 1:
        raise RecipeError(f"`model.lora.r` is {lora['r']!r} but must be a whole number of 1 or more.")
    if not isinstance(lora["target_modules"], list):
        raise RecipeError(f"`model.lora.target_modules` is {lora['target_modules']!r} but must be a list of layers.")
    if importlib.util.find_spec("peft") is None:
        raise RecipeError("`model.lora` needs peft; pip install 'antiphon[lora]', or set it to null.")
    return lora


def add_lora(model: WhisperForConditionalGeneration, lora: dict):
    """Freezes a model and adds low-rank matrices beside the linear layers that `target_modules` names.

    Args:
        model: To be adapted; it is changed.
        lora: As `complete_lora` returns it.

    Returns:
        The `peft.PeftModel` around it.

    Raises:
        RecipeError: where no layer has such a name, or peft refuses a value.

    Source: Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models", equation 3.
    """
    from peft import LoraConfig, get_peft_model

    # Without `task_type`: peft's class for text would pass `input_ids` to a model that wants `input_features`.
    config = LoraConfig(
        r=lora["r"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        target_modules=list(lora["target_modules"]),
    )
    try:
        return get_peft_model(model, config)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"`model.lora` cannot be used: {error}") from error


def merge(model, answer: Callable[[object], Answers]) -> tuple[WhisperForConditionalGeneration, Answers, dict]:
    """Adds the low-rank products to the weights, and makes sure that the merged model still says the same.

    Args:
        model: A `peft.PeftModel` in evaluation mode; it is used up.
        answer: What a model says on the same items each time.

    Returns:
        The merged model, what it said, and how that compares: `items`, `wer_unmerged`, `wer_merged`,
        `changed_transcripts`, and `logit_change`, the largest change relative to the largest logit.

    Raises:
        RecipeError: where logits or WER changed by more than rounding explains.
    """
    unmerged = answer(model)
    merged_model = model.merge_and_unload(safe_merge=True)
    merged = answer(merged_model)
    change = float((merged.logits - unmerged.logits).abs().max() / unmerged.logits.abs().max())
    report = {
        "items": len(merged.texts),
        "wer_unmerged": unmerged.wer,
        "wer_merged": merged.wer,
        "changed_transcripts": sum(old != new for old, new in zip(unmerged.texts, merged.texts)),
        "logit_change": change,
    }
    # Written so that a NaN, which compares false to everything, is refused too.
    if not (change <= MAX_LOGIT_CHANGE and abs(merged.wer - unmerged.wer) <= MAX_WER_CHANGE):
        raise RecipeError(
            f"the merged model is not the trained one: WER {unmerged.wer:.2%} became {merged.wer:.2%} and logits moved "
            f"by {change:.2g} of the largest (allowed: {MAX_WER_CHANGE:.1%} and {MAX_LOGIT_CHANGE:g}); nothing was "
            "written but the adapter, so use that."
        )
    return merged_model, merged, report
