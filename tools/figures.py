"""Write the figures of the built book as SVG and PNG: python -m tools.figures [PAGE …]

A page is named as in the contents, such as book/causes/depth; without names, all. The files are in
_build/pictures, each with a line for the licence below the figure. A figure with sliders is written
as the page first shows it. It needs Chromium.
"""

import argparse
import sys

import yaml
from tqdm import tqdm

from tools.browser import HTML, MISSING, ROOT, chromium, found

OUT = ROOT / "_build" / "pictures"
LICENCE = "Vanishing Gradients, CC BY 4.0, "
# In the page: every drawing and chart with the look that it has there, made to stand by itself.
COLLECT = """line => {
  const look = ['fill', 'fill-opacity', 'stroke', 'stroke-width', 'stroke-dasharray', 'opacity',
    'stroke-linecap', 'stroke-linejoin', 'stroke-opacity', 'font-family', 'font-size',
    'font-style', 'font-weight', 'text-anchor', 'dominant-baseline', 'visibility', 'display',
    'marker-start', 'marker-mid', 'marker-end', 'paint-order']
  const alone = svg => {
    const copy = svg.cloneNode(true)
    const [from, to] = [svg, copy].map(each => [each, ...each.querySelectorAll('*')])
    from.forEach((each, i) => {
      // What is defined once and used with other colours must not get one of its own.
      if (each.closest('defs') && !each.hasAttribute('class')) return
      const style = getComputedStyle(each)
      to[i].removeAttribute('class')
      to[i].setAttribute('style', look.map(k => `${k}:${style.getPropertyValue(k)}`).join(';'))
    })
    const box = svg.viewBox.baseVal
    const [w, h] = [box.width, box.height]
    const size = Math.min(w / 45, w / line.length / 0.55)
    copy.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
    copy.setAttribute('viewBox', `${box.x} ${box.y} ${w} ${h + 2 * size}`)
    copy.setAttribute('width', w)
    copy.setAttribute('height', h + 2 * size)
    const of = (name, attributes, text = '') => {
      const made = document.createElementNS('http://www.w3.org/2000/svg', name)
      for (const key in attributes) made.setAttribute(key, attributes[key])
      made.textContent = text
      return made
    }
    copy.prepend(of('rect', {x: box.x, y: box.y, width: w, height: h + 2 * size, fill: '#fff'}))
    const place = {x: box.x + size / 2, y: box.y + h + 1.4 * size, fill: '#48566b'}
    copy.append(of('text', {...place, 'font-family': 'sans-serif', 'font-size': size}, line))
    return copy.outerHTML
  }
  // Sliders draw in a shadow root.
  const within = root => [...root.querySelectorAll('*')].flatMap(
    each => each.shadowRoot ? within(each.shadowRoot) : [each])
  return [...document.querySelectorAll('article figure')].flatMap((figure, i) => {
    const charts = within(figure).filter(
      each => each.localName === 'svg' && each.viewBox.baseVal?.width > 60)
    return charts.map((svg, j) => [
      (figure.id || `figure-${i + 1}`) + (charts.length > 1 ? `-${j + 1}` : ''), alone(svg)])
  })
}"""


def export(browser, names, out, address):
    """Write the figures of pages below ``out``; ``address`` is where the book is published."""
    page = browser.new_page()
    alone = browser.new_page(device_scale_factor=3)
    for name in names:
        page.goto((HTML / f"{name}.html").as_uri())
        for figure, svg in page.evaluate(COLLECT, f"{LICENCE}{address}{name}.html"):
            file = out / name / f"{figure}.svg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(svg, encoding="utf-8")
            alone.set_content(f"<body style='margin:0'>{svg}</body>")
            alone.locator("svg").screenshot(path=file.with_suffix(".png"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="PAGE")
    names = parser.parse_args().names or [
        path.relative_to(HTML).with_suffix("").as_posix()
        for folder in ("book", "lessons")
        for path in sorted((HTML / folder).rglob("*.html"))
    ]
    if unknown := [name for name in names if not (HTML / f"{name}.html").exists()]:
        parser.error(f"the built book has no page {unknown[0]!r}; run `make book` first")
    if found() is None:
        sys.exit(MISSING)
    address = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["html"]["baseurl"]
    with chromium() as browser:
        export(browser, tqdm(names, unit="page", disable=None, ascii=True), OUT, address)
    print(f"The figures are in {OUT}")


if __name__ == "__main__":
    main()
