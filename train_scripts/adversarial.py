"""The training loop of generators against discriminators, shared by all models that make waveforms."""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from antiphon.eval.result_rows import write_atomically
from antiphon.modeling.losses_adversarial import discriminator_loss, feature_matching_loss, generator_loss

from .progress import FILE
from .run_folder import RunFolder, write_json

ADVERSARIAL_DEFAULTS = {
    "batch_size": 8,
    "max_steps": 10_000,
    "learning_rate": 1e-3,
    "final_learning_rate": 1e-5,
    "discriminator_learning_rate": 1e-3,
    "warmup_steps": 100,
    "weight_decay": 0.01,
    "max_grad_norm": 5.0,
    "adversarial_start": 2000,
    "adversarial_weight": 0.1,
    "feature_matching_weight": 0.2,
    "ema_decay": 0.999,
    "mixed_precision": "no",
    "logging_steps": 20,
    "eval_steps": 500,
    "save_steps": 100,
}
# Gradients of float16 would have to be scaled, apart for each of the two optimizers.
PRECISIONS = ("no", "bf16")
# Of Adam: the short memory of the first moment that adversaries need.
BETAS = (0.8, 0.99)


class StepSampler:
    """Numbers of the items of every batch, from a step on: which they are follows from the step alone."""

    def __init__(self, first_step: int, last_step: int, batch_size: int):
        self.steps = range(first_step, last_step)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            yield list(range(step * self.batch_size, (step + 1) * self.batch_size))


def learning_rate(settings: dict, peak: float, step: int) -> float:
    """Rises over the warm-up to the peak, then falls as a cosine to the final rate."""
    warmup, last = settings["warmup_steps"], settings["max_steps"]
    if step < warmup:
        return peak * (step + 1) / warmup
    final = min(peak, settings["final_learning_rate"])
    share = (step - warmup) / max(1, last - warmup)
    return final + 0.5 * (peak - final) * (1 + math.cos(math.pi * share))


@torch.no_grad()
def average_weights(
    averages: list[torch.Tensor], values: list[torch.Tensor], count: torch.Tensor, decay: float
) -> None:
    """Moves running averages towards the values of the moment, by more while there are few of them."""
    share = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
    torch._foreach_lerp_(averages, values, share)


class AdversarialTrainer:
    """Trains a generator, first on its own losses alone, then against discriminators too.

    Args:
        generator: A model of the library.
        discriminators: Maps waveforms to scores and hidden layers, each a list over discriminators.
        make: (generator, batch, is_adversarial) to the made waveform, the real one and the generator's own losses by
            name, each weighted; `is_adversarial` tells whether discriminators take part.
        dataset: Item i is the same whenever it is asked for, for every i from 0 on.
        settings: `ADVERSARIAL_DEFAULTS`, all of them; `mixed_precision` is one of `PRECISIONS`.
        run: Receives `trainer/state.pt` to resume from and, at every saving, `checkpoint/`.
        save: (generator, folder) writes a checkpoint.
        validate: generator to figures by name.
        seed: Of everything that is drawn in training.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminators: nn.Module,
        make: Callable,
        dataset: Dataset,
        settings: dict,
        run: RunFolder,
        save: Callable[[nn.Module, Path], None],
        validate: Callable[[nn.Module], dict[str, float]],
        seed: int = 0,
    ):
        self.accelerator = Accelerator(mixed_precision=settings["mixed_precision"])
        self.settings, self.run, self.make, self.dataset, self.seed = settings, run, make, dataset, seed
        self.save, self.validate = save, validate
        options = {"betas": BETAS, "weight_decay": settings["weight_decay"]}
        self.average = torch.optim.swa_utils.AveragedModel(
            generator, multi_avg_fn=partial(average_weights, decay=settings["ema_decay"])
        ).to(self.accelerator.device)
        self.generator, self.discriminators, self.optimizer, self.discriminator_optimizer = self.accelerator.prepare(
            generator,
            discriminators,
            torch.optim.AdamW(generator.parameters(), lr=settings["learning_rate"], **options),
            torch.optim.AdamW(discriminators.parameters(), lr=settings["discriminator_learning_rate"], **options),
        )
        self.step, self.log, self.seconds = 0, [], 0.0

    def train(self) -> None:
        """Trains to the last step, from the last saved state on if there is one."""
        settings = self.settings
        self._resume()
        loader = self.accelerator.prepare(self._loader())
        start, first_step, earlier_seconds = time.perf_counter(), self.step, self.seconds
        bar = tqdm(total=settings["max_steps"], initial=self.step, disable=not self.accelerator.is_main_process)
        self.generator.train()
        for batch in loader:
            # Noise in the models follows from the step, so that a resumed run draws what an uninterrupted one does.
            torch.manual_seed(hash((self.seed, self.step, self.accelerator.process_index)) % 2**63)
            losses = self._take_step(batch)
            self.step += 1
            self.seconds = earlier_seconds + time.perf_counter() - start
            bar.update()
            if self.step % settings["logging_steps"] == 0:
                figures = {name: round(float(loss.detach()), 5) for name, loss in losses.items()}
                self.log.append({"step": self.step, **figures})
                bar.write(" ".join(f"{name} {value}" for name, value in self.log[-1].items()))
                self._write_progress((self.step - first_step) / (time.perf_counter() - start))
            is_last = self.step == settings["max_steps"]
            if self.step % settings["eval_steps"] == 0 or is_last:
                self._validate()
            if self.step % settings["save_steps"] == 0 or is_last:
                self._save()
        bar.close()
        if self.accelerator.is_main_process:
            write_json(self.run.path / "log_history.json", [*self.log, {"training_seconds": self.seconds}])

    def _loader(self) -> DataLoader:
        # Each process takes every n-th batch, so n times as many are needed.
        processes = self.accelerator.num_processes
        sampler = StepSampler(
            self.step * processes, self.settings["max_steps"] * processes, self.settings["batch_size"]
        )
        return DataLoader(self.dataset, batch_sampler=sampler)

    def _take_step(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """One step of the discriminators, once they take part, and one of the generator; returns the losses."""
        settings, accelerator = self.settings, self.accelerator
        is_adversarial = self.step >= settings["adversarial_start"]
        with accelerator.autocast():
            made, real, own = self.make(self.generator, batch, is_adversarial)
        losses = dict(own)
        if is_adversarial:
            real_scores, _ = self.discriminators(real)
            made_scores, _ = self.discriminators(made.detach())
            losses["discriminator"] = discriminator_loss(real_scores, made_scores)
            accelerator.backward(losses["discriminator"])
            self._update(self.discriminators, self.discriminator_optimizer, settings["discriminator_learning_rate"])

            # Without what wraps them for several processes, which would wait for gradients that never come.
            judges = accelerator.unwrap_model(self.discriminators).requires_grad_(False)
            with torch.no_grad():  # anew, by the weights that judge what is made
                _, real_features = judges(real)
            made_scores, made_features = judges(made)
            adversarial = generator_loss(made_scores)
            matching = feature_matching_loss(real_features, made_features)
            judges.requires_grad_(True)
            losses |= {"adversarial": adversarial, "feature_matching": matching}
            own |= {
                "adversarial": settings["adversarial_weight"] * adversarial,
                "feature_matching": settings["feature_matching_weight"] * matching,
            }
        accelerator.backward(sum(own.values()))
        self._update(self.generator, self.optimizer, settings["learning_rate"])
        self.average.update_parameters(accelerator.unwrap_model(self.generator))
        return losses

    def _update(self, model: nn.Module, optimizer: torch.optim.Optimizer, peak: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(self.settings, peak, self.step)
        self.accelerator.clip_grad_norm_(model.parameters(), self.settings["max_grad_norm"])
        optimizer.step()
        optimizer.zero_grad()

    @torch.no_grad()
    def _validate(self) -> None:
        """Measures the weights of the moment and their running average."""
        models = {"": self.accelerator.unwrap_model(self.generator), "average_": self.average.module}
        figures = {}
        for prefix, model in models.items():
            model.eval()
            figures |= {f"validation_{prefix}{name}": round(value, 5) for name, value in self.validate(model).items()}
        self.generator.train()
        self.log.append({"step": self.step, **figures})
        self.accelerator.print(self.log[-1], flush=True)

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        unwrap = self.accelerator.unwrap_model
        return {
            "generator": unwrap(self.generator),
            "discriminators": unwrap(self.discriminators),
            "average": self.average,
            "optimizer": self.optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }

    def _save(self) -> None:
        """Writes the state to resume from at once or not at all, then the checkpoint of the running average."""
        if not self.accelerator.is_main_process:
            return
        self.run.trainer.mkdir(exist_ok=True)
        state = {name: part.state_dict() for name, part in self._parts().items()}
        state |= {"step": self.step, "log": self.log, "seconds": self.seconds}
        write_atomically(self.run.trainer / "state.pt", lambda file: torch.save(state, file))
        self.save(self.average.module, self.run.checkpoint)

    def _resume(self) -> None:
        path = self.run.trainer / "state.pt"
        if not path.is_file():
            return
        state = torch.load(path, map_location=self.accelerator.device, weights_only=True)
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.step, self.log, self.seconds = state["step"], state["log"], state["seconds"]
        self.accelerator.print(f"resumed at step {self.step}", flush=True)

    def _write_progress(self, steps_per_second: float) -> None:
        if self.accelerator.is_main_process:
            progress = {"step": self.step, "max_steps": self.settings["max_steps"]}
            write_json(self.run.path / FILE, {**progress, "steps_per_second": round(steps_per_second, 3)})
