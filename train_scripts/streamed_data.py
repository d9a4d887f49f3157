"""Speech on its way into a recogniser from a corpus that is read row by row and never held."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch

from antiphon.processing import ConformerProcessor
from antiphon.processing.corpora import CorpusStream
from antiphon.processing.corpora.augmentation import WaveformAugmentation

from .dropped import SOURCE_NOT_STATED, Dropped
from .recipes import RecipeError, with_defaults
from .recognition_data import RecognitionRows, order_by_length

STREAM_DEFAULTS = {"name": None, "buffer_size": 1024, "options": {}}


def open_stream(stream: dict) -> CorpusStream:
    """Opens the corpus that a resolved recipe's `data.stream` names."""
    return CorpusStream(stream["name"], **stream["options"])


def complete_stream(recipe: dict) -> None:
    """Fills in the defaults of a recipe's `data.stream`, if it has one, and looks for what a stream needs.

    Raises:
        RecipeError: with the key that is missing or in the way.
    """
    data = recipe["data"]
    if not data["stream"]:
        return
    stream = data["stream"] = with_defaults(data["stream"], STREAM_DEFAULTS, "`data.stream`")
    if data["train"]:
        raise RecipeError("`data.train` and `data.stream` both say what to train on; leave one of them out.")
    if not stream["name"] or not isinstance(stream["buffer_size"], int) or stream["buffer_size"] < 1:
        raise RecipeError(
            f"`data.stream` is {stream} but needs a `name` and a `buffer_size` of at least one utterance."
        )
    if recipe["training"].get("max_steps", -1) < 1:
        raise RecipeError("`training.max_steps` is missing: a stream does not say how long it is.")
    if not data["alphabet"] and not recipe["run"]["initialize_from"]:
        raise RecipeError(
            "`data.alphabet` is missing: the symbols of a stream's texts are not known before it has been read; give "
            'them, e.g. data.alphabet="abcdefghijklmnopqrstuvwxyz\'".'
        )


class StreamedUtterances(RecognitionRows, torch.utils.data.IterableDataset):
    """Utterances of a stream as the Trainer reads them.

    The stream is read a buffer at a time, which is cut into batches of similar length, and these are shuffled. Order
    and augmentation are functions of (seed, epoch) and of the stream alone, so a resumed run sees what an uninterrupted
    one sees. Only rows of one buffer meet: what comes sorted, by speaker for example, needs a large one.

    Args:
        stream: Rows of `CorpusStream`, the same whenever it is iterated.
        batch_size: Utterances per optimiser step over all processes.
        buffer_size: How many utterances are held at once, rounded up to whole batches.
        processor, max_seconds, resample, augmentation, seed: Of `RecognitionDataset`.

    `dropped` counts the pass that was begun last, and `heard` what it gave.
    """

    def __init__(
        self,
        stream: CorpusStream,
        processor: ConformerProcessor,
        *,
        batch_size: int,
        buffer_size: int,
        max_seconds: float,
        resample: bool = False,
        augmentation: WaveformAugmentation | None = None,
        seed: int = 0,
    ):
        super().__init__(processor, max_seconds=max_seconds, resample=resample, augmentation=augmentation, seed=seed)
        self.stream = stream
        self.batch_size = batch_size
        self.buffer_size = -(-buffer_size // batch_size) * batch_size
        self.dropped = Dropped(self.REASONS)
        self.heard: dict[str, dict] = {}

    def set_epoch(self, epoch: int) -> None:
        """Says which pass comes next; the Trainer calls this."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[dict]:
        """Gives items as `RecognitionDataset` does, for one pass over the stream."""
        self.dropped, self.heard = Dropped(self.REASONS), {}
        generator = np.random.default_rng([self.seed, self.epoch])
        rows = self._usable_rows()
        is_empty = True
        while buffer := list(islice(rows, self.buffer_size)):
            is_empty = False
            for index, row, labels in self._ordered(buffer, generator):
                yield self.utterance(row, labels, index)
        if is_empty:
            raise RecipeError(f"No utterance of {self.stream.name} is left to use: {self.dropped}.")

    def _usable_rows(self) -> Iterator[tuple[int, dict, torch.Tensor]]:
        for index, row in enumerate(self.stream):
            labels = torch.tensor(self.processor.tokenizer(row["text"] or "")["input_ids"])
            why = self.why_unusable(labels, row["duration_seconds"])
            self.dropped.add(why, row["source"])
            if why is None:
                self._note(row)
                yield index, row, labels

    def _ordered(self, buffer: list, generator: np.random.Generator) -> list:
        """Cuts a buffer into batches of similar length, in a drawn order."""
        durations = np.array([row["duration_seconds"] for _, row, _ in buffer])
        return [buffer[place] for place in order_by_length(durations, self.batch_size, generator)]

    def _note(self, row: dict) -> None:
        source = self.heard.setdefault(
            row["source"] or SOURCE_NOT_STATED,
            {"license": set(), "split": set(), "num_items": 0, "speakers": set(), "seconds": 0.0},
        )
        source["num_items"] += 1
        source["seconds"] += row["duration_seconds"]
        for key, value in (("license", row["license"]), ("split", row["split"]), ("speakers", row["speaker_id"])):
            if value is not None:
                source[key].add(value)

    def describe(self) -> list[dict]:
        """What a model card says of the training data: of the last pass that was begun, as far as it was read."""
        return [
            {
                "name": name,
                "license": ", ".join(sorted(source["license"])),
                "split": ", ".join(sorted(source["split"])),
                "num_items": source["num_items"],
                "num_speakers": len(source["speakers"]),
                "speakers": sorted(source["speakers"]),
                "hours": round(source["seconds"] / 3600, 3),
            }
            for name, source in self.heard.items()
        ]
