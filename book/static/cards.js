// Cards by keyboard and touch. A link gets its card on focus as well; Escape closes it, and it is
// read out as the link's description. A finger opens the card; a mouse or Enter follows the link.
(() => {
  if (!window.tippy) return;
  // The extension hands over a term and its meaning without the list that they are from, and with
  // their ids, which Notation itself has already.
  const listed = (html) => {
    const list = document.createElement("dl");
    list.innerHTML = html;
    for (const node of list.querySelectorAll("[id]")) node.removeAttribute("id");
    return list.outerHTML;
  };
  const ours = {
    fn: (card) => {
      const close = (event) => event.key === "Escape" && card.hide();
      return {
        onCreate: () => {
          card.setProps({ appendTo: () => document.querySelector("article") }); // a landmark
          card.setContent(listed(card.props.content));
        },
        onShow: () => addEventListener("keydown", close),
        onHide: () => removeEventListener("keydown", close),
      };
    },
  };
  tippy.setDefaultProps({
    aria: { content: "describedby", expanded: false },
    plugins: [...tippy.defaultProps.plugins, ours],
    inlinePositioning: true,
  });
  let finger = false;
  addEventListener("pointerdown", (event) => { finger = event.pointerType === "touch"; }, true);
  addEventListener("click", (event) => {
    if (finger && event.target.closest("a.vg-term")) event.preventDefault();
  });
})();
