"""The style sheet of the report page: one column, light and dark, readable on a phone and on paper."""

STYLE = """
:root {
  --paper: #fbfbf9; --ink: #1b1f23; --soft: #5d656d; --line: #e2e3df; --track: #ecece8;
  --accent: #0b6b75; --mute: #b9c0c4; --base: #b45309; --good: #18794e; --bad: #b42318;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #131619; --ink: #e7e9e8; --soft: #9ba4ab; --line: #2b3035; --track: #23282c;
    --accent: #4dbac4; --mute: #566069; --base: #e8a04c; --good: #62c996; --bad: #f28b80;
  }
}
* { box-sizing: border-box; }
html { color-scheme: light dark; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 56rem; margin: 0 auto; padding: clamp(1.5rem, 5vw, 4rem) clamp(1rem, 4vw, 2rem) 3rem; }
h1 { font-size: clamp(1.7rem, 5vw, 2.4rem); line-height: 1.15; letter-spacing: -.022em; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; letter-spacing: -.01em; margin: 0 0 .2rem; }
h3 { font-size: .95rem; margin: 1.6rem 0 .5rem; overflow-wrap: anywhere; }
p { margin: 0; max-width: 42rem; }
.lead, .note { color: var(--soft); }
.lead { margin-top: .4rem; }
.note { font-size: .9rem; }
section { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1.4rem; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.2rem, 1fr)); gap: 1.2rem 1.1rem; margin: 2.2rem 0 0; }
.numbers div { border-left: 3px solid var(--accent); padding-left: .7rem; }
.numbers dt { color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
.numbers dd { margin: 0; font-size: 1.75rem; font-weight: 620; line-height: 1.2; letter-spacing: -.02em; }
.numbers small { display: block; color: var(--soft); font-size: .8rem; font-weight: 400; letter-spacing: 0; }
table { border-collapse: collapse; width: 100%; margin-top: .8rem; font-size: .92rem; }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: baseline; }
th { color: var(--soft); font-weight: 500; font-size: .85rem; }
td { overflow-wrap: anywhere; }
th.n, td.n { text-align: right; padding-right: 0; padding-left: .8rem; white-space: nowrap; }
.chart { display: grid; grid-template-columns: minmax(5.5rem, max-content) 1fr max-content; align-items: center; column-gap: .9rem; font-size: .9rem; }
.chart > .name { overflow-wrap: anywhere; max-width: 13rem; line-height: 1.25; }
.chart > .value { text-align: right; }
.chart.bars { row-gap: .42rem; margin-top: .6rem; }
.gone { color: var(--soft); }
svg { display: block; width: 100%; }
svg text { fill: var(--soft); font-size: 12px; }
svg.bar { height: .8rem; }
.track { fill: var(--track); }
.fill { fill: var(--accent); }
.bar.out .fill { fill: var(--mute); }
.chart.runs { grid-template-columns: minmax(5.5rem, max-content) 1fr max-content max-content; }
.chart.runs > .name, .chart.runs > .value { padding: .3rem 0; }
.plot { position: relative; align-self: stretch; min-height: 28px; }
svg.dots { position: absolute; inset: 0; height: 100%; }
svg.ticks { height: 18px; overflow: visible; }
.grid { stroke: var(--line); stroke-width: 1; }
.run { fill: var(--accent); fill-opacity: .55; }
.spread { stroke: var(--accent); stroke-opacity: .45; stroke-width: 2; }
.mean { stroke: var(--accent); stroke-width: 3; stroke-linecap: round; }
.base { fill: var(--base); }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(18rem, 100%), 1fr)); gap: .4rem 2rem; }
svg.curve { height: 140px; }
.curve-line { stroke: var(--accent); stroke-width: 2; stroke-linecap: round; }
.curve-dot { fill: var(--accent); }
.BETTER { color: var(--good); font-weight: 600; }
.WORSE { color: var(--bad); font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin-top: .6rem; font-size: .85rem; color: var(--soft); }
.legend span { display: inline-flex; align-items: center; gap: .4rem; }
.legend svg { width: 14px; height: 14px; }
.scroll { overflow-x: auto; }
details { margin-top: .8rem; }
summary { cursor: pointer; color: var(--accent); font-size: .92rem; }
pre { overflow-x: auto; font: .8rem/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; border-left: 3px solid var(--line); padding-left: 1rem; margin: .8rem 0 0; }
footer { margin-top: 3.5rem; border-top: 1px solid var(--line); padding-top: 1rem; color: var(--soft); font-size: .85rem; }
code { font: .92em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
@media (max-width: 34rem) {
  .chart { column-gap: .6rem; font-size: .85rem; }
  .chart > .name { max-width: 8.5rem; }
  .chart.runs { grid-template-columns: 1fr max-content max-content; }
  .chart.runs > .name { grid-column: 1 / -1; max-width: none; padding-bottom: 0; }
  .chart.runs > .ticks-name { display: none; }
  .tick1 { display: none; }
}
@media print { section { break-inside: avoid; } }
"""
