"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const tip = document.getElementById("tip");
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const off = { run: new Set(), axis: new Set() };

  // What needs this script is hidden without it.
  for (const element of all(".script")) element.hidden = false;

  // Runs and axes, on and off.
  const switchOff = (what, value, isOff) => {
    if (isOff) off[what].add(value);
    else off[what].delete(value);
    for (const element of all(`[data-${what}]`)) {
      if (element.dataset[what] !== value) continue;
      if (what === "run") element.style.display = isOff ? "none" : "";
      else element.hidden = isOff;
    }
  };
  for (const box of all(".switches input")) {
    box.checked = true; // a browser may remember another state of a page it reloads
    box.addEventListener("change", () => switchOff(box.name, box.value, !box.checked));
  }

  // Sections: all at once, the one that a link leads to, and all of them on paper.
  const parts = all("details.part");
  for (const [id, open] of [["unfold", true], ["fold", false]]) {
    document.getElementById(id).addEventListener("click", () => {
      for (const part of parts) part.open = open;
    });
  }
  const openTarget = () => {
    const part = document.getElementById(location.hash.slice(1))?.querySelector("details.part");
    if (!part || part.open) return;
    part.open = true;
    part.scrollIntoView();
  };
  for (const link of all("nav a")) link.addEventListener("click", () => setTimeout(openTarget));
  window.addEventListener("hashchange", openTarget);
  openTarget();
  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = parts.filter((part) => !part.open);
    for (const part of folded) part.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const part of folded) part.open = false;
  });

  // One metric of several.
  for (const radio of all(".choice input[type=radio]")) {
    const option = document.getElementById(radio.value);
    const show = () => {
      for (const other of option.parentElement.children) {
        if (/^choice-\d+-\d+$/.test(other.id)) other.hidden = other !== option;
      }
    };
    radio.checked = radio.defaultChecked;
    if (radio.checked) show();
    radio.addEventListener("change", show);
  }

  // Tables as files.
  for (const button of all("button[data-file]")) {
    button.addEventListener("click", () => {
      const link = document.createElement("a");
      const text = new Blob([data.files[button.dataset.file]], { type: "text/csv" });
      link.href = URL.createObjectURL(text);
      link.download = button.dataset.file;
      link.click();
      URL.revokeObjectURL(link.href);
    });
  }

  // Values of points: under the pointer, or by the arrow keys.
  for (const [id, points] of Object.entries(data.points)) {
    const figure = document.getElementById(id);
    const svg = figure.querySelector("svg");
    if (!points.length || !svg) continue;
    const mark = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    mark.setAttribute("class", "at");
    mark.setAttribute("r", "7");
    mark.style.display = "none";
    svg.append(mark);
    figure.tabIndex = 0;
    figure.setAttribute("aria-label", `${svg.getAttribute("aria-label")}. Arrow keys read values.`);
    let current = -1;

    const on = ([, , run]) => run === null || !off.run.has(String(run));
    const hide = () => {
      mark.style.display = "none";
      tip.hidden = true;
    };
    const show = (index) => {
      const [x, y, , text] = points[index];
      current = index;
      mark.setAttribute("cx", x);
      mark.setAttribute("cy", y);
      mark.style.display = "";
      if (tip.textContent !== text) tip.textContent = text;
      tip.hidden = false;
      const place = mark.getBoundingClientRect();
      const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
      const below = place.top < tip.offsetHeight + 12;
      const top = below ? place.bottom + 6 : place.top - tip.offsetHeight - 6;
      tip.style.left = `${window.scrollX + Math.max(8, Math.min(place.right + 6, room))}px`;
      tip.style.top = `${window.scrollY + top}px`;
    };
    const nearest = (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(
        svg.getScreenCTM().inverse(),
      );
      let [found, least] = [-1, 40 * 40];
      points.forEach((point, index) => {
        const distance = (point[0] - at.x) ** 2 + (point[1] - at.y) ** 2;
        if (on(point) && distance < least) [found, least] = [index, distance];
      });
      if (found >= 0) show(found);
      else hide();
    };
    svg.addEventListener("pointermove", nearest);
    svg.addEventListener("pointerdown", nearest);
    svg.addEventListener("pointerleave", hide);
    figure.addEventListener("blur", hide);
    figure.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step || !points.some(on)) return;
      event.preventDefault();
      let next = current < 0 && step < 0 ? 0 : current;
      do next = (next + step + points.length) % points.length;
      while (!on(points[next]));
      show(next);
      const before = mark.getBoundingClientRect().left;
      mark.scrollIntoView({ block: "nearest", inline: "center", behavior: "instant" });
      if (mark.getBoundingClientRect().left !== before) show(next);
    });
  }
})();
