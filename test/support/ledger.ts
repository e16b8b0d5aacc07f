import { appendFileSync, readFileSync } from 'node:fs'

/**
 * What the runner must clean if a test is killed: one JSON line each, in the file that LAYERSTACK_TEST_LEDGER names.
 * `test/runner/sweep.mjs` reads it. A process is named by its id and its start time, so a reused id is never killed.
 */
type LedgerEntry =
  | { readonly kind: 'process'; readonly pid: number; readonly startTime: string }
  | { readonly kind: 'directory'; readonly path: string }

export function enterDirectory(path: string): void {
  enter({ kind: 'directory', path })
}

export function enterProcess(pid: number): void {
  const startTime = processStartTime(pid)
  if (startTime !== undefined) enter({ kind: 'process', pid, startTime })
}

/** Field 22 of /proc/PID/stat: clock ticks since boot; undefined if the process does not exist. */
function processStartTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}

function enter(entry: LedgerEntry): void {
  const file = process.env['LAYERSTACK_TEST_LEDGER']
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(entry)}\n`)
}
