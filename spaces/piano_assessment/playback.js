// The cursor of each figure runs with its player; a click into the picture goes there.
(() => {
  const place = (figure) => {
    const { start, seconds } = figure.dataset;
    const now = figure.querySelector("audio").currentTime - Number(start);
    const share = Math.min(Math.max(now / Number(seconds), 0), 1);
    figure.querySelector(".cursor").style.left = `${100 * share}%`;
    for (const column of figure.querySelectorAll(".attention g")) {
      const isNow = now >= Number(column.dataset.start) && now < Number(column.dataset.end);
      column.classList.toggle("now", isNow);
    }
  };
  const follow = (audio) => {
    const figure = audio.closest(".lattice");
    if (!figure) return;
    place(figure);
    if (!audio.paused) requestAnimationFrame(() => follow(audio));
  };
  // Events of media do not bubble, but they can be captured.
  for (const name of ["play", "seeked", "ended"]) {
    document.addEventListener(name, (event) => follow(event.target), true);
  }
  document.addEventListener("click", (event) => {
    const field = event.target.closest?.(".lattice .field");
    if (!field) return;
    const figure = field.closest(".lattice");
    const box = field.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    figure.querySelector("audio").currentTime = Number(figure.dataset.start) + share * Number(figure.dataset.seconds);
  });
})();
