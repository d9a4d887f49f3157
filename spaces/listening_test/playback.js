// One sound at a time; the next page opens only after each sound was heard to its end; keys 1, 2, … or A, B answer.
(() => {
  // Events of media do not bubble, but they can be captured.
  document.addEventListener("play", (event) => {
    for (const audio of document.querySelectorAll("audio")) {
      if (audio !== event.target) audio.pause();
    }
  }, true);
  document.addEventListener("ended", (event) => { event.target.dataset.heard = "yes"; }, true);
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("#next")) return;
    const unheard = document.querySelector("#sounds audio:not([data-heard])");
    const hint = document.querySelector("#hint");
    if (hint) hint.textContent = unheard ? "Please listen to each sound to its end first." : "";
    if (unheard) {
      event.stopImmediatePropagation();
      unheard.focus();
    }
  }, true);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest?.("#code")) return;
    const answers = [...document.querySelectorAll("#answers input[type=radio]")];
    answers.find((answer) => answer.value.toLowerCase() === event.key.toLowerCase())?.click();
  });
})();
