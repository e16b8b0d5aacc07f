import { columns } from './columns.js'
import type { Difference } from './compare.js'
import { percent, ratio, seconds, share } from './format.js'

/** Formats the differences beyond the noise, worst first, and counts the others. */
export function comparisonTable(differences: readonly Difference[]): string {
  const changed = differences
    .filter(({ verdict }) => verdict !== 'same')
    .toSorted((a, b) => b.change - a.change)
    .map((each) => [each.workload, each.contender, ...cells(each)])
  const same = differences.length - changed.length
  const lines = changed.length === 0 ? [] : [columns([HEADER, ...changed], [0, 1, 6])]
  return [
    '\nCompared with the older run',
    ...lines,
    `${same} of ${differences.length} within the noise`,
  ].join('\n')
}

const HEADER = ['', '', 'before', 'after', 'change', 'noise', '']

export function cells({ before, after, unit, change, noise, verdict }: Difference): string[] {
  const text = unit === 'seconds' ? seconds : ratio
  return [text(before), text(after), percent(change), `±${share(noise)}`, verdict]
}
