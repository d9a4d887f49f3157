"""Tells training data which epoch begins, also where a training is resumed in the middle of one."""

from transformers import TrainerCallback


class EpochAnnouncer(TrainerCallback):
    """Calls `set_epoch` of the training data; accelerate does not where a sampler listens or batches are skipped."""

    def on_epoch_begin(self, args, state, control, train_dataloader=None, **kwargs):
        train_dataloader.dataset.set_epoch(int(state.epoch))
