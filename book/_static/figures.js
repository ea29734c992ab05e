// jupyter-book puts all scripts of this folder into every page's head.
// Wide figures scroll sideways on a phone, so that their labels stay legible; hebm.css gives them their width there.
(() => {
const WIDE = 1.8; // width over height from which a figure is too small to read on 400 pixels
const mark = (image) => {
  const box = image.parentElement;
  if (image.naturalWidth < WIDE * image.naturalHeight || box.matches(".hebm-frames")) return;
  box.classList.add("wide-figure");
  box.tabIndex = 0; // arrow keys scroll it
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "A wide figure, which scrolls sideways on a narrow screen");
};
addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".bd-article .cell_output img").forEach((image) => {
    if (image.complete) mark(image);
    else image.addEventListener("load", () => mark(image));
  });
});
})();
