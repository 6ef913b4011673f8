"""The page's frame and its styles."""

from string import Template

PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'">
<title>$title</title><style>
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2330; --soft: #5b6472; --rule: #e3e6eb; --light: .58 }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14171c; --ink: #e4e7ec; --soft: #9aa3b1; --rule: #2d343e; --light: .74 } }
[style] { --colour: oklch(var(--light) .16 var(--hue)) }
body { margin: 0 auto; padding: 1rem 1rem 4rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif }
h1, h2, h3 { margin: 2.5rem 0 .5rem; line-height: 1.25; overflow-wrap: anywhere } h1 { margin-top: .5rem }
a { color: inherit } p, small, figcaption, thead, text { color: var(--soft) } small, figcaption { font-size: .85rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
th, td { padding: .4rem 0 .4rem 1.5rem; text-align: right; border-bottom: 1px solid var(--rule); font-weight: 400 }
th:first-child { position: sticky; left: 0; padding-left: 0; text-align: left; background: var(--paper) }
thead th { vertical-align: bottom } td { white-space: nowrap } td b { box-shadow: 0 2px var(--ink) }
th small { display: block; min-width: 10rem }
i { display: inline-block; width: .7em; height: .7em; margin-right: .4em; border-radius: 1em;
  background: var(--colour) }
ul { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; padding: 0; margin: 1.5rem 0 .5rem; list-style: none }
.beside { display: grid; gap: 1rem 1.5rem; grid-template-columns: 2fr 1fr; align-items: start }
figure { margin: 0; min-width: 0 } figcaption { padding: .25rem 0 } .charts figure:first-child { grid-row: span 2 }
svg { display: block; width: 100%; overflow: visible; stroke-width: 2 } text { font-size: 13px; fill: currentColor }
.x { text-anchor: middle } .y { text-anchor: end; dominant-baseline: central } circle { fill: var(--colour) }
polyline { fill: none; stroke: var(--colour); stroke-linejoin: round } .random, .level { stroke-dasharray: 4 4 }
.grid, .level { stroke: var(--rule); stroke-width: 1 } .level { stroke: var(--soft) }
details { margin: 1.5rem 0 } summary { cursor: pointer }
img, video { display: block; width: 100%; border-radius: 6px; background: #fff }
figure:only-child > video { max-width: 20rem }
@media (max-width: 45rem) {
  .beside { grid-template-columns: minmax(0, 1fr) } .charts figure:first-child text { font-size: 18px } }
</style></head><body><h1>$title</h1>
<p>Curves are dashed while the actions are random. If settings were run with several seeds, each thin line is a seed and
the thick line is their mean, up to the end of the shortest run. Point at a dot to see its value. The best figure of a
column is bold.</p>
$body</body></html>
""")
