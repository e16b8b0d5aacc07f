import type { Difference } from '../compare.js'
import { bytes } from '../format.js'
import { machineLines, type Machine } from '../machine.js'
import { groupOf, type ContenderResult, type Run, type WorkloadResult } from '../result.js'
import { card } from './card.js'
import { looksOf, type Look } from './colour.js'
import { curve } from './curve.js'
import { html, Markup } from './markup.js'
import { comparisonSheet, figureSheet, targetSheet } from './sheets.js'
import { style } from './style.js'

/** Renders one run as a self-contained page. */
export function page(run: Run, comparison: readonly Difference[] | undefined): string {
  const looks = looksOf(run)
  const lookOf = ({ name, kind }: ContenderResult): Look => looks(name, kind)
  const groups = [...new Set(run.results.map(({ workload }) => groupOf(workload)))]
  const sections = groups.map((group) => section(group, run, lookOf))
  const document = html`<html lang="en">
    <head>
      <meta charset="utf-8" />
      <meta name="viewport" content="width=device-width, initial-scale=1" />
      <title>layerstack: benchmarks of ${run.began.slice(0, 10)}</title>
      <style>
        ${new Markup(style)}
      </style>
    </head>
    <body>
      ${head(run)} ${navigation(groups, comparison, run)} ${legend(run, lookOf)} ${targetSheet(run)}
      ${comparison === undefined ? '' : comparisonSheet(comparison)} ${sections} ${figureSheet(run)}
    </body>
  </html>`
  return `<!doctype html>\n${document.text}\n`
}

function head(run: Run): Markup {
  const minutes = Math.max(1, Math.round(run.took / 60))
  return html`<h1>Storage drivers compared</h1>
    <p class="machine">
      ${run.began.slice(0, 16).replace('T', ' ')} UTC, in ${minutes} ${minutes === 1 ? 'minute' : 'minutes'}.
      ${machineLines(run.machine).map((line) => html`<br />${line}`)}
    </p>
    <p>
      The contenders of a workload run in turns, with one sample of each per round, so a slowdown of the
      machine affects all of them. A floor does the same work with bare system calls or coreutils. A peer is
      another program. Times are per operation; shorter bars are better.
    </p>`
}

function navigation(
  groups: readonly string[],
  comparison: readonly Difference[] | undefined,
  run: Run,
): Markup {
  return html`<nav>
    <a href="#targets">Targets</a>
    ${comparison === undefined ? '' : html`<a href="#changes-since">Compared with the older run</a>`}
    ${groups.map((group) => html`<a href="#${group}">${titleOf(group, run)}</a>`)}
    <a href="#figures">All figures</a>
  </nav>`
}

function legend(run: Run, lookOf: (contender: ContenderResult) => Look): Markup {
  const all = run.results.flatMap(({ contenders }) => contenders)
  const drivers = new Map(
    all
      .filter(({ name, kind }) => kind === 'driver' && !/ (?:mount|volatile)$/.test(name))
      .map((each) => [each.name, lookOf(each).colour]),
  )
  const entries = [...drivers, ['floors', 'var(--floor)'] as const, ['peers', 'var(--peer)'] as const]
  return html`<ul class="legend">
    ${entries.map(([name, colour]) => html`<li><i style="background:${colour}"></i>${name}</li>`)}
  </ul>`
}

function section(group: string, run: Run, lookOf: (contender: ContenderResult) => Look): Markup {
  const results = run.results.filter(({ workload }) => groupOf(workload) === group)
  const series = new Map<string, WorkloadResult[]>()
  for (const result of results) {
    if (result.point === undefined) continue
    series.set(result.point.series, [...(series.get(result.point.series) ?? []), result])
  }
  const curves = [...series].filter(([, points]) => points.length > 1)
  const machine = run.elsewhere?.[group]?.machine
  return html`<h2 id="${group}">${titleOf(group, run)}</h2>
    ${machine === undefined ? '' : machineOf(machine)}
    ${curves.map(([name, points]) => curve(points, axesOf(name), lookOf))}
    ${results.map((result) => card(result, run, lookOf))}`
}

const TITLES: Readonly<Record<string, string>> = {
  cow: 'Copy-on-write',
  container: 'Containers',
  diff: 'Diff',
  changes: 'Changes',
  commit: 'Commit',
  apply: 'Apply',
  import: 'Import',
  image: 'A real image',
  graphbench: "Docker's graphbench",
  containerd: "containerd's benchsuite",
}

function titleOf(group: string, { elsewhere }: Run): string {
  return elsewhere?.[group]?.title ?? TITLES[group] ?? group
}

/** Describes a machine other than that of the run. */
function machineOf(machine: Machine): Markup {
  return html`<p class="lead">
    Measured on a different, slower machine: compare these figures with each other, not with those above.
    ${machineLines(machine).map((line) => html`<br />${line}`)}
  </p>`
}

function axesOf(series: string) {
  const what = series.slice(series.lastIndexOf('/') + 1)
  if (what === 'snapshot') {
    return {
      title: 'Creating and removing a snapshot, by number of files in the layer',
      unit: 'files',
      label: String,
    }
  }
  if (what === 'first-write') {
    return {
      title: 'Copy-up: first write of 4 bytes, by file size',
      unit: 'file size',
      label: bytes,
    }
  }
  return { title: `${what}, by number of layers`, unit: 'layers', label: String }
}
