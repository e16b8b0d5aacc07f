import { columns } from './columns.js'
import { bytes, ratio, seconds } from './format.js'
import type { Run } from './result.js'
import { excesses, limits, standings } from './targets.js'

const HEADER = ['', 'driver', 'compared with', 'at most', 'measured', '']

export function targetTable(run: Run): string {
  const rows = standings(run).map(({ workload, ours, theirs, than, atMost, found, reached }) => [
    workload,
    ours,
    than ?? theirs,
    ratio(atMost),
    ratio(found),
    reached ? 'reached' : 'missed',
  ])
  const lines = rows.length === 0 ? [] : ['\nTargets', columns([HEADER, ...rows], [0, 1, 2, 5])]
  const over = excesses(run).map(({ workload, contender, peakMemory, loopDelay }) => [
    workload,
    contender,
    peakMemory === undefined ? '' : bytes(peakMemory),
    loopDelay === undefined ? '' : seconds(loopDelay),
  ])
  const title = `\nMore than ${bytes(limits.peakMemory)} resident, or an event loop blocked for ${seconds(limits.loopDelay)} (p99)`
  return [...lines, title, over.length === 0 ? 'none' : columns(over, [0, 1])].join('\n')
}
