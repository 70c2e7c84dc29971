// Cards by keyboard and touch. A link gets its card on focus as well; Escape closes it, and it is
// read out as the link's description. A finger opens the card; a mouse or Enter follows the link.
(() => {
  if (!window.tippy) return;
  const closes = {
    fn: (card) => {
      const close = (event) => event.key === "Escape" && card.hide();
      return {
        onShow: () => addEventListener("keydown", close),
        onHide: () => removeEventListener("keydown", close),
      };
    },
  };
  tippy.setDefaultProps({
    aria: { content: "describedby", expanded: false },
    plugins: [...tippy.defaultProps.plugins, closes],
    inlinePositioning: true,
  });
  // A formula in a link would be one more stop for the Tab key.
  addEventListener("focusin", (event) => {
    const link = event.target.closest("a.vg-term");
    for (const formula of link?.querySelectorAll("mjx-container") ?? []) formula.tabIndex = -1;
  });
  let finger = false;
  addEventListener("pointerdown", (event) => { finger = event.pointerType === "touch"; }, true);
  addEventListener("click", (event) => {
    if (finger && event.target.closest("a.vg-term")) event.preventDefault();
  });
})();
