import type { Difference } from './compare.js'
import { comparisonTable } from './comparison-table.js'
import { machineLines } from './machine.js'
import type { Run } from './result.js'
import { table } from './table.js'
import { targetTable } from './target-table.js'

/** Formats a whole run as the text that the terminal shows. */
export function report(run: Run, comparison: readonly Difference[] | undefined): string {
  const elsewhere = Object.values(run.elsewhere ?? {}).flatMap(({ title, machine }) => [
    `\n${title}:`,
    ...machineLines(machine),
  ])
  const lines = [...machineLines(run.machine), ...elsewhere]
  return [...lines, ...run.results.map((result) => table(result, run)), conclusion(run, comparison), ''].join(
    '\n',
  )
}

/** Formats the tables that concern all workloads: targets, limits and the comparison. */
export function conclusion(run: Run, comparison: readonly Difference[] | undefined): string {
  const sheets = [targetTable(run), ...(comparison === undefined ? [] : [comparisonTable(comparison)])]
  return sheets.join('\n')
}
