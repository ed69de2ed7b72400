// Draw the figures of the page, and give their text the colour of the scheme.
(() => {
  const INK = {light: "#4a525c", dark: "#b4bcc6"};
  const PAPER = {light: "#ffffff", dark: "#15181c"};
  const TEXT = ["axis_label_text_color", "major_label_text_color", "group_text_color"];
  const scheme = matchMedia("(prefers-color-scheme: dark)");

  const paint = () => {
    const [ink, paper] = scheme.matches ? [INK.dark, PAPER.dark] : [INK.light, PAPER.light];
    for (const doc of Bokeh.documents) {
      for (const model of doc.all_models) {
        const changes = {};
        for (const name of TEXT) if (name in model.properties) changes[name] = ink;
        if (model.tags.includes("ink")) {
          for (const name of ["text_color", "line_color"]) if (name in model.properties) changes[name] = ink;
        }
        if (model.tags.includes("paper")) changes.background_fill_color = paper;
        if (Object.keys(changes).length) model.setv(changes);
      }
    }
  };

  const draw = async () => {
    const items = JSON.parse(document.getElementById("figures").textContent);
    const slots = document.querySelectorAll("[data-figure]");
    for (const slot of slots) await Bokeh.embed.embed_item(items[slot.dataset.figure], slot);
    paint();
    scheme.addEventListener("change", paint);
    document.documentElement.dataset.figures = slots.length;
  };
  draw();
})();
