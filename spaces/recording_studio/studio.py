"""What the buttons of the page do. Nothing of a session lives in the page: it only knows which prompt it shows."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import soundfile
from export import ExportError, choose_rows, export_to_zip, exported_files
from pages import draw_notice, draw_progress, draw_prompt, draw_verdict
from prompts import Prompt, PromptError, read_list
from session import ConflictError, Session, SessionError
from takes import TakeError, find_problems, read_take

ALL, MISSING, PROBLEMATIC = "All prompts", "Not recorded yet", "Kept with a problem"
OF_LIST = "List: "
KEEP, KEEP_ANYWAY = "Keep", "Keep anyway"
NO_TAKE = "Record the text first, then keep the take."
NO_PLACE = "The studio was started anew; load this page again."
FINISHED = "Every prompt of this choice is recorded. Choose another, import a list, or export your takes."
ERRORS = (ExportError, PromptError, SessionError, TakeError)


@dataclass(frozen=True)
class Place:
    """What a page shows: a text, and the file of its take that the page knows of."""

    text: str
    kept: str | None


class Studio:
    """The actions of the page; every method returns the contents of the components that app.py lists beside it."""

    def __init__(self, session: Session):
        self.session = session

    @property
    def views(self) -> list[str]:
        """Choices of prompts."""
        names = dict.fromkeys(prompt.list_name for prompt in self.session.prompts)
        return [ALL, MISSING, PROBLEMATIC, *(OF_LIST + name for name in names)]

    def begin(self, view: str) -> tuple:
        """The first prompt of a choice that is not recorded, else its first."""
        prompts = self._chosen(view)
        if not prompts:
            return self._stay(FINISHED if view == MISSING else "This choice is empty; choose another.")
        takes = self.session.takes
        missing = [prompt for prompt in prompts if prompt.text not in takes]
        return self._show((missing or prompts)[0], "" if missing else draw_notice(FINISHED))

    def step(self, place: Place | None, view: str, by: int) -> tuple:
        """The prompt before (-1) or after (1) in a choice; behind the last comes the first."""
        prompts, here = self.session.prompts, self._number(place)
        chosen = {prompt.text for prompt in self._chosen(view)}
        around = [prompts[(here + by * distance) % len(prompts)] for distance in range(1, len(prompts) + 1)]
        following = next((prompt for prompt in around if prompt.text in chosen), None)
        return self._stay(FINISHED) if following is None else self._show(following)

    def go_to(self, number: float | None) -> tuple:
        """The prompt of a number, counted from 1."""
        prompts = self.session.prompts
        if number is None or not 1 <= number <= len(prompts):
            return self._stay(f"There are prompts 1 to {len(prompts)}; type one of these numbers.", is_refusal=True)
        return self._show(prompts[int(number) - 1])

    def check(self, path: str | None, place: Place | None) -> tuple:
        """What is thought of a new recording: verdict, and the buttons that keep it and record again."""
        if path is None:
            return "", gr.Button(KEEP, interactive=False), gr.Button(interactive=False, variant="secondary")
        try:
            prompt = self._prompt(place)
            take = read_take(path)
        except ERRORS as error:
            again = gr.Button(interactive=True, variant="primary")
            return draw_notice(str(error), is_refusal=True), gr.Button(KEEP, interactive=False), again
        problems = find_problems(take, prompt.normalised_text)
        if problems:
            label, of_keep, of_again = KEEP_ANYWAY, "secondary", "primary"
        else:
            label, of_keep, of_again = KEEP, "primary", "secondary"
        keep = gr.Button(label, interactive=True, variant=of_keep)
        return draw_verdict(take, problems), keep, gr.Button(interactive=True, variant=of_again)

    def keep(self, path: str | None, place: Place | None, view: str) -> tuple:
        """Keeps a recording. A first take leads to the next prompt that has none; a better one stays to be heard."""
        try:
            if path is None:
                raise TakeError(NO_TAKE)
            prompt = self._prompt(place)
            take = read_take(path)
            problems = find_problems(take, prompt.normalised_text)
            self.session.keep(prompt, take, problems, replaces=place.kept)
        except ConflictError as error:
            return self._show(prompt, draw_notice(str(error), is_refusal=True), recording=gr.skip())
        except ERRORS as error:
            return self._stay(str(error), is_refusal=True)
        if place.kept is not None:
            return self._show(prompt, draw_notice("The new take replaced the former one."))
        return self._show_next_missing(prompt, view)

    def import_list(self, path: str | None) -> tuple:
        """Adds an uploaded list: notice, choices, progress."""
        if path is None:
            return gr.skip(), gr.skip(), gr.skip()
        try:
            prompts = read_list(Path(path))
            num_new = self.session.add_prompts(prompts)
        except ERRORS as error:
            return draw_notice(str(error), is_refusal=True), gr.skip(), gr.skip()
        notice = f"New prompts: {num_new}; there already: {len(prompts) - num_new}."
        return draw_notice(notice), gr.Dropdown(choices=self.views), self._progress()

    def export(self, layout: str) -> Iterator[tuple]:
        """The takes of this speaker as an archive: yields notice and file."""
        session = self.session
        # The page copies the file, after which the folder goes.
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{session.speaker}-{layout}.zip"
            try:
                rows = choose_rows(list(session.takes.values()), layout, session.speaker)
                export_to_zip(exported_files(session.folder, rows, layout), path)
            except ERRORS as error:
                yield draw_notice(str(error), is_refusal=True), gr.File(None, visible=False)
                return
            yield draw_notice(f"Ready to be fetched; takes: {len(rows)}."), gr.File(str(path), visible=True)

    def _chosen(self, view: str) -> list[Prompt]:
        takes = self.session.takes
        choices: dict[str, Callable[[Prompt], bool]] = {
            ALL: lambda prompt: True,
            MISSING: lambda prompt: prompt.text not in takes,
            PROBLEMATIC: lambda prompt: prompt.text in takes and takes[prompt.text].problems != "",
        }
        is_chosen = choices.get(view, lambda prompt: OF_LIST + prompt.list_name == view)
        return [prompt for prompt in self.session.prompts if is_chosen(prompt)]

    def _prompt(self, place: Place | None) -> Prompt:
        return self.session.prompts[self._number(place)]

    def _number(self, place: Place | None) -> int:
        texts = [prompt.text for prompt in self.session.prompts]
        if place is None or place.text not in texts:
            raise SessionError(NO_PLACE)
        return texts.index(place.text)

    def _show_next_missing(self, prompt: Prompt, view: str) -> tuple:
        prompts, takes = self._chosen(view), self.session.takes
        missing = [other for other in prompts if other.text not in takes]
        if not missing:
            return self._show(prompt, draw_notice(FINISHED))
        order = {other.text: number for number, other in enumerate(self.session.prompts)}
        later = [other for other in missing if order[other.text] > order[prompt.text]]
        return self._show((later or missing)[0], draw_notice("Kept."))

    def _show(self, prompt: Prompt, notice: str = "", recording: object = None) -> tuple:
        kept = self.session.takes.get(prompt.text)
        number = self.session.prompts.index(prompt) + 1
        player = gr.Audio(None, visible=False)
        if kept is not None:
            try:
                samples, sampling_rate = soundfile.read(self.session.folder / kept.file_name, dtype="int16")
                player = gr.Audio((sampling_rate, samples), visible=True)
            except soundfile.LibsndfileError:
                notice = draw_notice(f"{kept.file_name} is damaged; record this text again.", is_refusal=True)
        return (
            Place(prompt.text, kept and kept.file_name),
            notice,
            self._progress(),
            draw_prompt(prompt, number, len(self.session.prompts), kept),
            number,
            recording,
            player,
        )

    def _stay(self, sentence: str, *, is_refusal: bool = False) -> tuple:
        return (gr.skip(), draw_notice(sentence, is_refusal=is_refusal), self._progress(), *[gr.skip()] * 4)

    def _progress(self) -> str:
        return draw_progress(self.session.speaker, list(self.session.takes.values()), len(self.session.prompts))
