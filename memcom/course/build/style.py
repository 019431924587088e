"""The style sheet of the pages: readable on a wide screen, a phone and paper."""

from __future__ import annotations

STYLE = """\
:root { color-scheme: light; --ink: #1c1c1c; --soft: #595959; --line: #d5d5d5; --blue: #0b5c9a; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 0 1rem 3rem; max-width: 50rem; color: var(--ink);
  background: #fff; font: 1.0625rem/1.6 Georgia, "Times New Roman", serif; }
h1, h2, h3, h4, nav, table, summary, .note, .facts, .status { font-family: system-ui,
  -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 1.5rem 0 .75rem; }
h2 { font-size: 1.4rem; line-height: 1.3; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1.15rem; margin: 1.75rem 0 .5rem; }
p, ul, ol { margin: .75rem 0; overflow-wrap: break-word; }
a { color: var(--blue); } a:focus-visible, summary:focus-visible { outline: 3px solid #de8f05; }
.anchor-link { display: none; }
.skip { position: absolute; left: -999px; } .skip:focus { left: 1rem; background: #fff; }
nav { display: flex; gap: 1rem; justify-content: space-between; align-items: baseline;
  padding: .75rem 0; font-size: .9rem; border-bottom: 1px solid var(--line); }
main + nav { border: 0; border-top: 1px solid var(--line); margin-top: 2rem; }
nav span { flex: 1; } nav span:last-child { text-align: right; }
.code pre, pre.output { margin: 0; padding: .7rem .9rem; overflow-x: auto;
  font: .85rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.code, .highlight { background: #f6f7f8; border-radius: 4px; }
.code { margin: 1rem 0 0; border-left: 3px solid #9db4c6; }
code { font: .9em ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
:not(pre) > code { background: #f3f3f3; padding: .05em .25em; border-radius: 3px; }
.output { margin: .4rem 0 1rem; overflow-x: auto; }
.output.error { border-left: 3px solid #a4342a; background: #fdf3f2; }
.output.check { border-left: 3px solid #8a8a8a; background: #fafafa; }
.output.check.passed { border-color: #02785a; } .output.check.failed { border-color: #a4342a; }
.output img, .text img { max-width: 100%; height: auto; display: block; }
.note { color: var(--soft); font-size: .9rem; border-left: 3px solid #9db4c6; padding-left: .8rem; }
.facts { color: var(--soft); font-size: .85rem; margin-top: 3rem; }
math { font-size: 1.05em; }
math[display="block"] { margin: 1rem 0; max-width: 100%; overflow-x: auto; overflow-y: hidden; }
details { margin: 1rem 0; border: 1px solid var(--line); border-radius: 4px; padding: 0 .9rem; }
summary { padding: .5rem 0; cursor: pointer; font-size: .95rem; color: var(--blue); }
details[open] { padding-bottom: .9rem; } details .code { margin-top: 0; }
table { border-collapse: collapse; font-size: .9rem; margin: 1rem 0; line-height: 1.45; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
.wide { overflow-x: auto; }
.status.failed { border-left: 4px solid #a4342a; background: #fdf3f2; padding: .6rem .9rem; }
@media (max-width: 36rem) {
  body { font-size: 1rem; padding: 0 .75rem 2rem; } h1 { font-size: 1.5rem; }
  .course thead { position: absolute; left: -999px; }
  .course tr { display: block; border-bottom: 1px solid var(--line); padding: .6rem 0; }
  .course td { display: block; border: 0; padding: .1rem 0; text-align: left; }
  .course td[data-label]::before { content: attr(data-label) ": "; color: var(--soft); }
}
@media print { nav, .skip { display: none; } body { max-width: none; } }
"""
