/** On a phone a number stands beside the name of its column, which its table has as a property. */
const columnNames = Array.from({ length: 12 }, (_, index) => `td:nth-child(${index + 1})::before { content: var(--n${index + 1}); }`).join(
  " ",
);

/** Styles of the report: light and dark, wide and narrow, screen and paper. */
export const style: string = `
:root { --ink: #1d2330; --soft: #565f6d; --paper: #ffffff; --card: #f6f7f9; --rule: #dfe3e8; --accent: #0b5c9e; --zone: #dcdfe4;
  --good: #08693f; --good-bg: #dff5ea; --bad: #a3221b; --bad-bg: #fde7e5; --even: #2f4a6d; --even-bg: #e4ecf7; --open: #6b4e00; --open-bg: #fbf0cf; --none: #4e5664; --none-bg: #eceef1; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #a3adba; --paper: #14181f; --card: #1b212a; --rule: #2e3641; --accent: #7cbdff; --zone: #363e4a;
  --good: #6fe0ac; --good-bg: #12382a; --bad: #ffa39b; --bad-bg: #45201e; --even: #a9c7ee; --even-bg: #1f2f47; --open: #f0d27a; --open-bg: #3b3113; --none: #b3bcc8; --none-bg: #262d37; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 60px; -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 1120px; padding: 0 20px 32px; background: var(--paper); color: var(--ink); font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
h1 { font-size: 24px; line-height: 1.25; margin: 16px 0 4px; text-wrap: pretty; } h2 { font-size: 19px; margin: 32px 0 8px; } h3 { font-size: 17px; margin: 0; }
.contest { font-size: 15px; margin: 14px 0 2px; }
p { margin: 4px 0; } .soft, small, caption, dt, .axis { color: var(--soft); } small { font-size: 12.5px; font-weight: 400; }
code { font: 13px ui-monospace, Menlo, Consolas, monospace; }
a { color: var(--accent); } a:focus-visible, summary:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 2px; } [tabindex="-1"]:focus { outline: none; }
.skip { position: absolute; left: -9999px; } .skip:focus { left: 8px; top: 8px; z-index: 2; background: var(--paper); padding: 6px 10px; }
nav { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: 2px 16px; padding: 9px 0; background: var(--paper); border-bottom: 1px solid var(--rule); } nav a { text-decoration: none; } nav a:hover { text-decoration: underline; }
ul { list-style: none; margin: 0; padding: 0; }
.answers li { display: grid; grid-template-columns: 98px minmax(0, 5fr) minmax(0, 5fr) minmax(0, 4fr); gap: 0 14px; padding: 5px 0; border-bottom: 1px solid var(--rule); } .answers li:last-child { border: 0; }
.answers small, .answers .wide { grid-column: 3 / -1; }
.badge { align-self: start; justify-self: start; padding: 0 9px; border-radius: 10px; font-size: 13px; font-weight: 600; white-space: nowrap; background: var(--none-bg); color: var(--none); }
.badge.helps, .badge.reproduced, .badge.met { background: var(--good-bg); color: var(--good); } .badge.hurts, .badge.refuted, .badge.violated { background: var(--bad-bg); color: var(--bad); }
.badge.no-change { background: var(--even-bg); color: var(--even); } .badge.undecided, .badge.mixed, .badge.inconclusive { background: var(--open-bg); color: var(--open); }
.warning { background: var(--bad-bg); color: var(--bad); padding: 5px 10px; border-radius: 6px; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 3px 16px; margin: 8px 0; } dd { margin: 0; }
.belief { padding: 8px 12px; background: var(--card); border: 1px solid var(--rule); border-radius: 8px; }
.forest li { display: grid; grid-template-columns: minmax(0, 4fr) minmax(0, 5fr) minmax(0, 4fr); gap: 0 14px; font-size: 14px; line-height: 20px; } .forest .of, .forest .kind { display: block; padding-top: 6px; font-weight: 600; } .forest .kind { padding-top: 14px; }
.forest i { position: relative; display: block; min-height: 20px; font-style: normal; } .forest .axis i { font-size: 12.5px; } .forest .axis i span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.ends i { display: flex; justify-content: space-between; } .worse { color: var(--bad); } .better { color: var(--good); }
.iv { color: var(--none); background: linear-gradient(90deg, transparent calc(50% - .5px), var(--soft) 0 calc(50% + .5px), transparent 0), linear-gradient(90deg, transparent calc(50% - var(--z)), var(--zone) 0 calc(50% + var(--z)), transparent 0); print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.iv::before { content: ""; position: absolute; top: 8.5px; height: 3px; left: var(--l); width: max(2px, var(--w)); background: currentColor; } .iv::after { content: ""; position: absolute; top: 6px; left: calc(var(--e) - 4px); width: 8px; height: 8px; background: currentColor; transform: rotate(45deg); }
.iv s { position: absolute; left: -9px; text-decoration: none; } .iv s.r { left: auto; right: -9px; }
.faster { color: var(--good); } .slower { color: var(--bad); } .equivalent { color: var(--even); } .inconclusive { color: var(--open); }
.card { margin: 0 0 14px; padding: 14px 16px; background: var(--card); border: 1px solid var(--rule); border-radius: 8px; } .card:target { border-color: var(--accent); box-shadow: 0 0 0 1px var(--accent); }
.card .answers { margin: 4px 0; } .raw { font-size: 13px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 10px 28px; margin: 6px 0; } figure { margin: 0; min-width: 0; max-width: 540px; } figcaption { font-weight: 600; font-size: 14px; }
svg.plot { display: block; width: 100%; max-width: 440px; height: auto; } svg[width="0"] { position: absolute; }
.bars li { display: grid; grid-template-columns: minmax(64px, 22%) minmax(0, 1fr) 84px; gap: 8px; font-size: 13px; line-height: 20px; align-items: center; } .bars i { position: relative; height: 20px; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.bars i::before { content: ""; position: absolute; left: 0; top: 4px; height: 12px; width: var(--v); background: currentColor; } .wh::after { content: ""; position: absolute; left: var(--l); width: var(--w); top: 6px; height: 8px; border: solid var(--ink); border-width: 0 1.5px; background: linear-gradient(var(--ink), var(--ink)) center / 100% 1.5px no-repeat; }
.legend { display: flex; flex-wrap: wrap; gap: 0 14px; font-size: 13px; } .legend i { display: inline-block; width: 18px; margin-right: 5px; vertical-align: middle; border-top: 3px solid; } .legend .d { border-top-style: dashed; }
details { margin: 8px 0; } summary { cursor: pointer; color: var(--accent); width: fit-content; }
table { border-collapse: collapse; width: 100%; margin: 8px 0 12px; font-size: 13.5px; } caption { text-align: left; padding: 0 0 4px; font-size: 13px; }
thead th { font-size: 12.5px; color: var(--soft); border-bottom: 2px solid var(--rule); vertical-align: bottom; } th { text-align: left; font-weight: 600; } tbody th { font-weight: 400; }
th, td { padding: 4px 10px 4px 0; vertical-align: top; } tbody tr > * { border-bottom: 1px solid var(--rule); } td small { display: block; } .words thead th { overflow-wrap: break-word; } .words td { min-width: 84px; }
.numbers td, .numbers thead th:not(:first-child) { text-align: right; padding: 4px 0 4px 10px; }
@media (max-width: 700px) {
  html { scroll-padding-top: 90px; } body { padding: 0 12px 24px; } h1 { font-size: 20px; } .card { padding: 10px 12px; }
  .answers li { grid-template-columns: 92px minmax(0, 1fr); gap: 0 10px; } .answers li > :not(.badge) { grid-column: 2; }
  .forest li { grid-template-columns: minmax(0, 1fr) auto; } .forest li > i { grid-area: 2 / 1 / 3 / 3; margin: 0 12px; } .forest li > span:last-child { text-align: right; } .forest .axis, .forest .ends { display: block; }
  .forest li:not(.axis, .ends, .of, .kind) { padding: 4px 0; border-bottom: 1px solid var(--rule); }
  thead { display: none; } table, tbody, tr, caption { display: block; } tbody th { display: block; font-weight: 600; }
  tbody tr { padding: 6px 0; border-bottom: 1px solid var(--rule); } tbody tr > * { border: 0; } .words td { display: block; padding: 1px 0; } .numbers td { display: grid; grid-template-columns: 40% minmax(0, 1fr); gap: 8px; padding: 1px 0; text-align: left; } td:empty { display: none; } .numbers td::before { color: var(--soft); font-size: 12.5px; } ${columnNames}
}
@media print {
  @page { margin: 12mm; } html { font-size: 10pt; } body { max-width: none; padding: 0; font-size: 9.5pt; } nav, .skip, .raw, details:not([open]) { display: none; }
  h1 { font-size: 15pt; margin-top: 0; } h2 { font-size: 12pt; margin: 14px 0 4px; break-after: avoid; } h3 { font-size: 11pt; break-after: avoid; } small, .forest li, .bars li, table, .soft { font-size: 8pt; } .answers li { grid-template-columns: 76px minmax(0, 5fr) minmax(0, 6fr) minmax(0, 4fr); padding: 2px 0; font-size: 8.5pt; line-height: 1.3; } .card { padding: 8px 10px; margin-bottom: 8px; }
  .forest li, .bars li { line-height: 15px; } .forest i, .bars i { min-height: 15px; height: 15px; } .iv::before { top: 6px; } .iv::after { top: 3.5px; } .bars i::before { top: 2px; } .wh::after { top: 3.5px; }
  .badge { border: 1px solid currentcolor; font-size: 8pt; } .forest .of, .forest .kind, .forest .axis, .ends { break-after: avoid; } .card, .forest li, .answers li, figure, tr, dl { break-inside: avoid; } .charts { grid-template-columns: 1fr 1fr; gap: 6px 20px; } summary { display: none; }
}
`;
