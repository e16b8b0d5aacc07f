import { bytes, seconds } from '../format.js'
import {
  allocatedElsewhere,
  phasesOf,
  totals,
  type ContenderResult,
  type Run,
  type WorkloadResult,
} from '../result.js'
import { summarise, type Summary } from '../statistics.js'
import { timesFloor } from '../table.js'
import type { Look } from './colour.js'
import { html, type Markup } from './markup.js'
import { logScale, type Scale } from './scale.js'

/** Shows one workload. Each contender has a bar for the median, divided into phases, and a strip with all samples. */
export function card(result: WorkloadResult, run: Run, lookOf: (contender: ContenderResult) => Look): Markup {
  const ran = result.contenders.filter(({ samples }) => samples.length > 0)
  const failed = result.contenders.filter(({ failure }) => failure !== undefined)
  const longest = Math.max(...ran.map((each) => summarise(totals(each)).median))
  const scale = logScale(ran.flatMap(totals))
  const rest = result.workload.slice(result.workload.indexOf('/') + 1)
  return html`<section class="card">
    <h3>${rest}</h3>
    <p class="about">${result.about}</p>
    ${
      ran.length === 0
        ? ''
        : html`<div class="rows">
            <span class="head"></span><span class="head">median</span><span class="head value"></span
            ><span class="head value">× floor</span><span class="head strip">all samples (log)</span>
            ${ran.map((each) => row(result, each, lookOf(each), longest, scale))}
            <span class="axis-room"></span>${axis(scale)}
          </div>`
    }
    ${phaseLegend(ran)} ${result.growth === true ? growth(ran, allocatedElsewhere(run, result), lookOf) : ''}
    ${failed.map(
      ({ name, failure, notHere }) =>
        html`<p class="${notHere === true ? 'phases' : 'failure'}">${name}: ${failure}</p>`,
    )}
  </section>`
}

function row(
  result: WorkloadResult,
  contender: ContenderResult,
  look: Look,
  longest: number,
  scale: Scale,
): Markup {
  const summary = summarise(totals(contender))
  const width = (100 * summary.median) / longest
  return html`<span class="name ${contender.kind}">${contender.name}</span>
    <span class="track"
      ><span class="bar" style="width:${width.toFixed(2)}%">${segments(contender, look)}</span></span
    >
    <span class="value">${seconds(summary.median)}</span>
    <span class="value">${timesFloor(result, contender)}</span>
    <span class="strip">${strip(contender, summary, look, scale)}</span>`
}

/** The bar's segments, one for each phase, paler from first to last. */
function segments(contender: ContenderResult, { colour }: Look): Markup[] {
  const { phases } = phasesOf(contender)
  const total = phases.reduce((sum, { median }) => sum + median, 0)
  return phases.map(
    ({ name, median }, index) =>
      html`<span
        class="segment"
        style="width:${((100 * median) / total).toFixed(2)}%;background:${colour};opacity:${paleness(index, phases.length)}"
        title="${name} ${seconds(median)}"
      ></span>`,
  )
}

function paleness(index: number, count: number): string {
  return (1 - (0.7 * index) / Math.max(1, count - 1) / (count > 1 ? 1 : 2)).toFixed(2)
}

/** A tick at the median, a box from quartile to quartile, a dot for each sample. */
function strip(contender: ContenderResult, summary: Summary, { colour }: Look, scale: Scale): Markup {
  const at = (value: number) => `${(100 * scale.at(value)).toFixed(2)}%`
  const { median, lowerQuartile, upperQuartile } = summary
  const box = 100 * (scale.at(upperQuartile) - scale.at(lowerQuartile))
  return html`<svg width="100%" height="16" role="img">
    <title>
      ${contender.name}: median ${seconds(median)}, quartiles ${seconds(lowerQuartile)} and
      ${seconds(upperQuartile)}, range ${seconds(summary.min)} to ${seconds(summary.max)}
    </title>
    ${scale.ticks.map((tick) => html`<line class="grid" x1="${at(tick)}" x2="${at(tick)}" y1="0" y2="16" />`)}
    <rect
      x="${at(lowerQuartile)}"
      width="${box.toFixed(2)}%"
      y="3"
      height="10"
      rx="2"
      style="fill:${colour}"
      opacity="0.25"
    />
    ${totals(contender).map(
      (value) => html`<circle cx="${at(value)}" cy="8" r="2.2" style="fill:${colour}" opacity="0.6" />`,
    )}
    <line x1="${at(median)}" x2="${at(median)}" y1="1" y2="15" style="stroke:${colour}" stroke-width="2" />
  </svg>`
}

/** Bars of what one sample allocated on disk, on this and on other machines. */
function growth(
  ran: readonly ContenderResult[],
  others: ReturnType<typeof allocatedElsewhere>,
  lookOf: (contender: ContenderResult) => Look,
): Markup {
  const all = [...ran.map((contender) => ({ contender, title: '' })), ...others]
  const most = Math.max(1, ...all.map(({ contender: { allocated = 0 } }) => allocated))
  return html`<div class="rows grown">
    <span class="head"></span><span class="head">allocated on disk</span><span class="head value"></span>
    ${all.map(({ contender: each, title }) => {
      if (each.allocated === undefined) return html``
      const width = (100 * Math.max(0, each.allocated)) / most
      return html`<span class="name ${each.kind}" title="${title}">${each.name}</span>
        <span class="track"
          ><span class="bar" style="width:${width.toFixed(2)}%;background:${lookOf(each).colour}"></span
        ></span>
        <span class="value">${bytes(each.allocated)}</span>`
    })}
  </div>`
}

function axis(scale: Scale): Markup {
  return html`<span class="axis"
    >${scale.ticks.map(
      (tick) => html`<span style="left:${(100 * scale.at(tick)).toFixed(2)}%">${seconds(tick)}</span>`,
    )}</span
  >`
}

function phaseLegend(ran: readonly ContenderResult[]): Markup {
  const lists = new Set(
    ran.map((each) =>
      phasesOf(each)
        .phases.map(({ name }) => name)
        .join(' → '),
    ),
  )
  const several = [...lists].filter((list) => list.includes(' → '))
  return several.length === 0
    ? html``
    : html`<p class="phases">Each bar shows its phases, from dark to pale: ${several.join('; ')}.</p>`
}
