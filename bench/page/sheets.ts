import { cells } from '../comparison-table.js'
import type { Difference } from '../compare.js'
import { bytes, ratio, seconds, share } from '../format.js'
import { totals, type ContenderResult, type Run, type WorkloadResult } from '../result.js'
import { summarise } from '../statistics.js'
import { cpuText, phasesText, timesFloor } from '../table.js'
import { excesses, limits, standings } from '../targets.js'
import { html, type Markup } from './markup.js'

export function targetSheet(run: Run): Markup {
  const rows = standings(run)
  if (rows.length === 0) return html``
  return html`<h2 id="targets">Targets</h2>
    <p class="lead">
      Each ratio is the median, over all rounds, of the driver's time divided by the other time. “At most” is
      the project's goal.
    </p>
    <div class="sheet">
      <table>
        <tr>
          <th>workload</th>
          <th>driver</th>
          <th>compared with</th>
          <th class="number">at most</th>
          <th class="number">measured</th>
          <th></th>
        </tr>
        ${rows.map(
          ({ workload, ours, theirs, than, atMost, found, reached }) =>
            html`<tr>
              <td>${workload}</td>
              <td>${ours}</td>
              <td>${than ?? theirs}</td>
              <td class="number">${ratio(atMost)}</td>
              <td class="number">${ratio(found)}</td>
              <td>${verdict(reached, reached ? 'reached' : 'missed')}</td>
            </tr>`,
        )}
      </table>
    </div>
    ${excessSheet(run)}`
}

function excessSheet(run: Run): Markup {
  const over = excesses(run)
  const allowed = `${bytes(limits.peakMemory)} of memory or ${seconds(limits.loopDelay)} of event-loop delay (p99)`
  if (over.length === 0) return html`<p class="lead">No driver exceeded ${allowed}.</p>`
  return html`<p class="lead" style="margin-top:1rem">These exceeded ${allowed}:</p>
    <div class="sheet">
      <table>
        <tr>
          <th>workload</th>
          <th>driver</th>
          <th class="number">peak RSS</th>
          <th class="number">loop p99</th>
        </tr>
        ${over.map(
          ({ workload, contender, peakMemory, loopDelay }) =>
            html`<tr>
              <td>${workload}</td>
              <td>${contender}</td>
              <td class="number">${peakMemory === undefined ? '' : bytes(peakMemory)}</td>
              <td class="number">${loopDelay === undefined ? '' : seconds(loopDelay)}</td>
            </tr>`,
        )}
      </table>
    </div>`
}

export function comparisonSheet(differences: readonly Difference[]): Markup {
  const changed = differences
    .filter((each) => each.verdict !== 'same')
    .toSorted((a, b) => b.change - a.change)
  return html`<h2 id="changes-since">Compared with the older run</h2>
    <p class="lead">
      ${String(changed.length)} of ${String(differences.length)} medians changed by more than the noise of
      both runs.
    </p>
    ${
      changed.length === 0
        ? ''
        : html`<div class="sheet">
            <table>
              <tr>
                <th>workload</th>
                <th>driver</th>
                <th class="number">before</th>
                <th class="number">after</th>
                <th class="number">change</th>
                <th class="number">noise</th>
                <th></th>
              </tr>
              ${changed.map((each) => {
                const [before, after, change, noise] = cells(each)
                return html`<tr>
                  <td>${each.workload}</td>
                  <td>${each.contender}</td>
                  <td class="number">${before}</td>
                  <td class="number">${after}</td>
                  <td class="number">${change}</td>
                  <td class="number">${noise}</td>
                  <td>${verdict(each.verdict === 'faster', each.verdict)}</td>
                </tr>`
              })}
            </table>
          </div>`
    }`
}

/** A table of all figures. */
export function figureSheet({ results }: Run): Markup {
  return html`<h2 id="figures">All figures</h2>
    <p class="lead">
      Spread is half the distance between the quartiles. CPU is the processor time of all threads, children
      and daemons. Peak RSS is the maximum resident memory. On disk is the size in allocated blocks that one
      sample leaves. Loop p99 is the delay of the event loop. Values in brackets are not part of the median.
    </p>
    <div class="sheet">
      <table>
        <tr>
          <th></th>
          <th class="number">median</th>
          <th class="number">spread</th>
          <th class="number">× floor</th>
          <th class="number">CPU</th>
          <th class="number">samples</th>
          <th class="number">peak RSS</th>
          <th class="number">on disk</th>
          <th class="number">loop p99</th>
          <th>phases</th>
        </tr>
        ${results.map(
          (result) =>
            html`<tr class="group">
                <td colspan="10">${result.workload}</td>
              </tr>
              ${result.contenders
                .filter(({ samples }) => samples.length > 0)
                .map((contender) => figures(result, contender))}`,
        )}
      </table>
    </div>`
}

function figures(result: WorkloadResult, contender: ContenderResult): Markup {
  const { median, lowerQuartile, upperQuartile, count } = summarise(totals(contender))
  const { peakMemory, allocated, loopDelay } = contender
  return html`<tr>
    <td>${contender.name}${contender.kind === 'driver' ? '' : ` (${contender.kind})`}</td>
    <td class="number">${seconds(median)}</td>
    <td class="number">±${share((upperQuartile - lowerQuartile) / 2 / median)}</td>
    <td class="number">${timesFloor(result, contender)}</td>
    <td class="number">${cpuText(contender)}</td>
    <td class="number">${count}</td>
    <td class="number">${peakMemory === undefined ? '' : bytes(peakMemory)}</td>
    <td class="number">${allocated === undefined ? '' : bytes(allocated)}</td>
    <td class="number">${loopDelay === undefined ? '' : seconds(loopDelay.p99)}</td>
    <td class="wide">${phasesText(contender)}</td>
  </tr>`
}

function verdict(isGood: boolean, word: string): Markup {
  return html`<span class="${isGood ? 'good' : 'bad'}">${isGood ? '✓' : '✗'} ${word}</span>`
}
