import { columns } from './columns.js'
import { bytes, ratio, seconds, share } from './format.js'
import {
  allocatedElsewhere,
  contenderOf,
  cpuOf,
  floorOf,
  phasesOf,
  totals,
  type ContenderResult,
  type Run,
  type WorkloadResult,
} from './result.js'
import { median, ratios, summarise } from './statistics.js'

const HEADER = [
  '',
  'median',
  'spread',
  '× floor',
  'CPU',
  'rounds',
  'peak RSS',
  'on disk',
  'loop p99',
  'phases',
]

/** Formats one workload for the terminal. With the run, adds allocations that other machines measured. */
export function table(result: WorkloadResult, run?: Run): string {
  const own = result.contenders.filter(({ samples }) => samples.length > 0).map((each) => row(result, each))
  const others = run === undefined ? [] : allocatedElsewhere(run, result)
  const rows = [
    ...own,
    ...others.map(({ contender, title }) => [
      contender.name,
      ...Array.from({ length: HEADER.indexOf('on disk') - 1 }, () => ''),
      bytes(contender.allocated ?? 0),
      '',
      title,
    ]),
  ]
  const failures = result.contenders
    .filter(({ failure }) => failure !== undefined)
    .map(({ name, failure }) => `  ${name}: ${failure}`)
  const lines = columns([HEADER, ...rows], [0, HEADER.length - 1])
  return [`\n${result.workload}: ${result.about}`, indent(lines), ...failures].join('\n')
}

function row(result: WorkloadResult, contender: ContenderResult): string[] {
  const { median: middle, lowerQuartile, upperQuartile, count } = summarise(totals(contender))
  return [
    contender.kind === 'driver' ? contender.name : `${contender.name} (${contender.kind})`,
    seconds(middle),
    `±${share((upperQuartile - lowerQuartile) / 2 / middle)}`,
    timesFloor(result, contender),
    cpuText(contender),
    String(count),
    contender.peakMemory === undefined ? '' : bytes(contender.peakMemory),
    contender.allocated === undefined ? '' : bytes(contender.allocated),
    contender.loopDelay === undefined ? '' : seconds(contender.loopDelay.p99),
    phasesText(contender),
  ]
}

export function cpuText(contender: ContenderResult): string {
  const cpu = cpuOf(contender)
  return cpu === undefined ? '' : seconds(cpu)
}

export function timesFloor(result: WorkloadResult, contender: ContenderResult): string {
  const floor = floorOf(result)
  if (floor === undefined) return ''
  const found = ratios(totals(contender), totals(contenderOf(result, floor.name) as ContenderResult))
  return found.length === 0 ? '' : ratio(median(found))
}

/** Formats the phases, if there are several, and then the asides in brackets. */
export function phasesText(contender: ContenderResult): string {
  const { phases, asides } = phasesOf(contender)
  const parts = phases.length > 1 ? phases : []
  return [
    ...parts.map(({ name, median: middle }) => `${name} ${seconds(middle)}`),
    ...asides.map(({ name, median: middle }) => `(${name} ${seconds(middle)})`),
  ].join(', ')
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '  ')
}
