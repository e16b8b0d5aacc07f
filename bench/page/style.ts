/** The style sheet of the page, for light and dark screens and for print. */
export const style = `
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --card: #ffffff; --ink: #1d2129; --soft: #5d6470; --line: #dedcd5;
  --driver-1: #1f6fb5; --driver-2: #d1751a; --driver-3: #2a8f5f; --driver-4: #9a55a8; --driver-5: #b3922a; --driver-6: #3a9aa8; --driver-7: #7a6a58;
  --floor: #8a8f98; --peer: #b03a4a;
  --good: #1f7a46; --bad: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14161a; --card: #1c1f25; --ink: #e8e6e1; --soft: #9aa0ab; --line: #343841;
    --driver-1: #63aeea; --driver-2: #f0a254; --driver-3: #5cc795; --driver-4: #c990d6; --driver-5: #d9bd5c; --driver-6: #6fccd9; --driver-7: #b8a48e;
    --floor: #80868f; --peer: #f0788a;
    --good: #5cc795; --bad: #ff8f85;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2.5rem 1.5rem 5rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; font-variant-numeric: tabular-nums;
}
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 0.4rem; letter-spacing: -0.01em; }
h2 { font-size: 1.35rem; margin: 3.2rem 0 0.3rem; padding-top: 0.9rem; border-top: 2px solid var(--ink); }
h3 { font-size: 1.02rem; margin: 0; }
p { margin: 0.25rem 0 0.75rem; max-width: 48rem; }
a { color: inherit; text-decoration-color: var(--soft); text-underline-offset: 3px; }
.machine, .about, .phases, .lead { color: var(--soft); }
.machine { font-size: 0.9rem; }
.about, .phases, .failure { font-size: 0.85rem; margin: 0.1rem 0 0.7rem; }
.phases { margin: 0.5rem 0 0; }
.failure { color: var(--bad); margin: 0.5rem 0 0; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: 0.3rem 1.1rem; margin: 1.2rem 0 0; font-size: 0.92rem; }
.legend { display: flex; flex-wrap: wrap; gap: 0.3rem 1.2rem; margin: 1rem 0 0; padding: 0; list-style: none; font-size: 0.88rem; }
.legend i { display: inline-block; width: 0.75rem; height: 0.75rem; border-radius: 3px; margin-right: 0.4rem; vertical-align: -0.08em; }
.card, .curve, .sheet {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.7rem 1.1rem 1.2rem; margin: 1rem 0 0;
  break-inside: avoid;
}
.rows {
  display: grid; grid-template-columns: minmax(8rem, max-content) minmax(6rem, 1.1fr) 4.6rem 4.2rem minmax(8rem, 1fr);
  column-gap: 0.8rem; row-gap: 0.22rem; align-items: center; font-size: 0.88rem;
}
.rows.grown { grid-template-columns: minmax(8rem, max-content) minmax(6rem, 1fr) 5rem; margin-top: 0.9rem; }
.head { color: var(--soft); font-size: 0.76rem; }
.name { overflow-wrap: anywhere; }
.name.floor, .name.peer { color: var(--soft); }
.name.floor::after { content: ' · floor'; font-size: 0.76rem; }
.name.peer::after { content: ' · peer'; font-size: 0.76rem; }
.value { text-align: right; white-space: nowrap; }
.track { height: 0.95rem; }
.bar { display: flex; height: 100%; min-width: 2px; border-radius: 3px; overflow: hidden; }
.segment { height: 100%; }
.strip { display: block; line-height: 0; }
.head.strip { line-height: inherit; }
.strip svg { overflow: visible; }
.axis-room { grid-column: 1 / 5; }
.axis { position: relative; height: 1rem; font-size: 0.7rem; color: var(--soft); }
.axis span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.grid { stroke: var(--line); stroke-width: 1; }
.leader { stroke: var(--line); stroke-width: 1; }
.tick { fill: var(--soft); font-size: 11.5px; }
.label { font-size: 12.5px; }
.curve { margin: 1rem 0 0; }
.curve figcaption { font-weight: 600; margin-bottom: 0.4rem; }
.curve svg { display: block; width: 100%; height: auto; max-width: 68rem; }
.sheet { overflow-x: auto; padding: 0.6rem 1.2rem; }
table { border-collapse: collapse; width: 100%; font-size: 0.86rem; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 0.78rem; }
th, td { padding: 0.28rem 0.9rem 0.28rem 0; border-bottom: 1px solid var(--line); vertical-align: baseline; }
tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
td.wide { min-width: 14rem; color: var(--soft); }
tr.group td { padding-top: 0.9rem; font-weight: 600; }
.good { color: var(--good); white-space: nowrap; }
.bad { color: var(--bad); white-space: nowrap; }
@media (max-width: 46rem) {
  .rows { grid-template-columns: minmax(6rem, 1fr) minmax(4rem, 1fr) 4.4rem 3.8rem; }
  .rows.grown { grid-template-columns: minmax(6rem, 1fr) minmax(4rem, 1fr) 4.4rem; }
  .rows .strip, .axis, .axis-room { display: none; }
}
@media print {
  :root {
    --paper: #ffffff; --card: #ffffff; --ink: #000000; --soft: #444444; --line: #cccccc;
    --driver-1: #1f6fb5; --driver-2: #d1751a; --driver-3: #2a8f5f; --driver-4: #9a55a8; --driver-5: #b3922a; --driver-6: #3a9aa8; --driver-7: #7a6a58;
    --floor: #8a8f98; --peer: #b03a4a; --good: #1f7a46; --bad: #b3261e;
  }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { max-width: none; padding: 0; font-size: 10.5px; }
  nav { display: none; }
  h2 { margin-top: 1.6rem; break-after: avoid; }
  .card, .curve, .sheet { border-radius: 0; padding: 0.6rem 1.6rem 0.6rem 0.8rem; }
  .curve svg { max-width: 42rem; }
  .sheet { overflow: visible; break-inside: auto; }
  tr { break-inside: avoid; }
}
`
