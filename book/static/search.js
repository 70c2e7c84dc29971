// Opened from disk, a page may not read another one. The search then finds its excerpts in a script.
if (location.protocol === "file:") {
  const script = document.createElement("script");
  script.src = "_static/texts.js";
  const loaded = new Promise((resolve) => { script.onload = resolve; });
  document.head.append(script);
  window.fetch = async (address) => {
    await loaded;
    const page = address.replace(/^\.?\//, "").replace(/\.html.*$/, "");
    return { text: async () => pageTexts[page] };
  };
}
