/** Styles of the report: light and dark, wide and narrow, screen and paper. */
export const style: string = `
:root { --ink: #1d2330; --soft: #5b6472; --paper: #ffffff; --card: #f6f7f9; --rule: #dfe3e8; --accent: #0b62a8;
  --good: #0a7a4b; --good-bg: #dff5ea; --bad: #b3261e; --bad-bg: #fde7e5; --even: #2f4a6d; --even-bg: #e4ecf7; --open: #7a5a00; --open-bg: #fbf0cf; --none: #5b6472; --none-bg: #eceef1; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa4b2; --paper: #14181f; --card: #1b212a; --rule: #2e3641; --accent: #6cb6ff;
  --good: #6fe0ac; --good-bg: #12382a; --bad: #ff9b93; --bad-bg: #45201e; --even: #a9c7ee; --even-bg: #1f2f47; --open: #f0d27a; --open-bg: #3b3113; --none: #9aa4b2; --none-bg: #262d37; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 24px; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; font-variant-numeric: tabular-nums; overflow-wrap: break-word; }
h1 { font-size: 26px; margin: 0; } h1 small { color: var(--soft); font-weight: 400; }
h2 { font-size: 19px; margin: 36px 0 8px; }
p { margin: 4px 0 8px; } header p, small, caption, .note, .workload { color: var(--soft); }
small { font-size: 12.5px; }
code { font: 13px ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
a { color: var(--accent); }
nav { margin: 32px 0 0; display: flex; flex-wrap: wrap; gap: 4px 16px; padding: 10px 14px; background: var(--card); border: 1px solid var(--rule); border-radius: 8px; }
.scroll { overflow-x: auto; margin: 0 0 14px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
caption { text-align: left; padding: 0 0 6px; font-size: 13px; }
th { text-align: left; font-weight: 600; font-size: 12.5px; color: var(--soft); border-bottom: 2px solid var(--rule); padding: 6px 12px 6px 0; vertical-align: bottom; }
td { padding: 7px 12px 7px 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
.numbers td, .numbers th { white-space: nowrap; text-align: right; }
.numbers th { white-space: normal; }
.numbers td:first-child, .numbers th:first-child { text-align: left; }
.badge { display: inline-block; padding: 1px 9px; border-radius: 10px; font-size: 13px; font-weight: 600; white-space: nowrap; background: var(--none-bg); color: var(--none); }
.badge.faster, .badge.reproduced, .badge.met { background: var(--good-bg); color: var(--good); }
.badge.slower, .badge.refuted, .badge.violated { background: var(--bad-bg); color: var(--bad); }
.badge.equivalent { background: var(--even-bg); color: var(--even); }
.badge.inconclusive { background: var(--open-bg); color: var(--open); }
.warning { background: var(--bad-bg); color: var(--bad); padding: 6px 12px; border-radius: 6px; }
.workload span { display: inline-block; margin-right: 14px; color: var(--ink); }
.interval { width: 110px; height: 20px; display: block; }
.interval .zone { fill: var(--soft); opacity: 0.3; } .interval .axis { stroke: var(--soft); stroke-width: 0.8; stroke-dasharray: 2 1.5; }
.interval .range { fill: var(--accent); opacity: 0.55; } .interval .estimate { fill: var(--accent); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 16px; }
figure { margin: 0; padding: 12px; background: var(--card); border: 1px solid var(--rule); border-radius: 8px; min-width: 0; }
figcaption { font-weight: 600; font-size: 14px; margin-bottom: 6px; }
.chart { width: 100%; min-height: 290px; }
.uplot, .uplot * { font-family: inherit; }
.u-legend { font-size: 12.5px; text-align: left; width: 100%; } .u-legend th { border: 0; color: var(--ink); padding: 0 4px 0 0; font-weight: 400; } .u-legend td { border: 0; padding: 0; color: var(--soft); } .u-legend .u-series { padding-right: 12px; }
.u-legend .u-marker { width: 16px; height: 0; border-width: 0 0 3px !important; background: none !important; } .u-inline.u-live th::after { content: none; } .u-inline .u-marker { vertical-align: middle; margin: 0 5px 0 0; }
.line { white-space: nowrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; font-size: 14px; margin: 0 0 12px; } dt { color: var(--soft); } dd { margin: 0; min-width: 0; }
@media (max-width: 700px) {
  body { padding: 14px; font-size: 15px; }
  .words thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .words, .words tbody, .words tr, .words td, .words caption { display: block; }
  .words tr { padding: 10px 12px; margin-bottom: 10px; background: var(--card); border: 1px solid var(--rule); border-radius: 8px; }
  .words td { border: 0; padding: 2px 0; display: grid; grid-template-columns: 96px 1fr; gap: 0 10px; }
  .words td::before { content: attr(data-label); color: var(--soft); font-size: 12.5px; }
  .line { white-space: normal; }
  caption span { display: block; max-width: calc(100vw - 28px); }
  .numbers td:first-child small { display: block; }
  .words td:empty { display: none; }
}
@media print {
  :root { --ink: #000; --soft: #444; --paper: #fff; --card: #fff; --rule: #bbb; --accent: #0b62a8; --good: #0a5c39; --good-bg: #fff; --bad: #8c1d18; --bad-bg: #fff; --even: #2f4a6d; --even-bg: #fff; --open: #5c4400; --open-bg: #fff; --none: #444; --none-bg: #fff; }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  nav { display: none; } .scroll { overflow: visible; } table { font-size: 8.5pt; } .numbers td, .numbers th, .line { white-space: normal; }
  .badge { border: 1px solid currentcolor; } tr, figure, dl { break-inside: avoid; } h2, caption { break-after: avoid; }
  .charts { grid-template-columns: 1fr; } .interval { width: 60px; }
}
`;
