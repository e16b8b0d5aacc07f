import { columns } from './columns.js'
import type { Difference } from './compare.js'
import { percent, ratio, seconds, share } from './format.js'

/** What is beyond the noise, the worst first; and how much is not. */
export function comparisonTable(differences: readonly Difference[]): string {
  const told = differences
    .filter(({ verdict }) => verdict !== 'same')
    .toSorted((a, b) => b.change - a.change)
    .map((each) => [each.workload, each.contender, ...cells(each)])
  const same = differences.length - told.length
  const lines = told.length === 0 ? [] : [columns([HEADER, ...told], [0, 1, 6])]
  return ['\nSince the older run', ...lines, `${same} of ${differences.length} within the noise`].join('\n')
}

const HEADER = ['', '', 'before', 'now', 'change', 'noise', '']

export function cells({ before, after, unit, change, noise, verdict }: Difference): string[] {
  const text = unit === 'seconds' ? seconds : ratio
  return [text(before), text(after), percent(change), `±${share(noise)}`, verdict]
}
