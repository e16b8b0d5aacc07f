import { setImmediate } from 'node:timers/promises'

/** Far below what a user notices, and far above the cost of one event-loop turn. */
const SLICE_MS = 8

/** When the work that currently blocks this thread's event loop began, by `performance.now()`. */
let busySince = 0
/** Resolves on the next turn of the event loop. */
let nextTurn: Promise<void> | undefined

/**
 * Lets long work on a thread yield to other work; all such work uses this function. Call it between small steps: each
 * call takes less than a microsecond.
 * @returns a promise to await if the event loop has been blocked for 8 ms; `undefined` if the work may continue
 */
export function yieldIfDue(): Promise<void> | undefined {
  if (nextTurn !== undefined) return performance.now() - busySince < SLICE_MS ? undefined : nextTurn
  busySince = performance.now()
  nextTurn = setImmediate().then(() => {
    nextTurn = undefined
  })
  return undefined
}

/**
 * Maps items in order by synchronous work of microseconds each, and yields between items. For small files this is
 * faster than asynchronous reads, each of which goes to the thread pool several times.
 */
export async function mapYielding<T, U>(items: Iterable<T>, work: (item: T) => U): Promise<U[]> {
  const results: U[] = []
  for (const item of items) {
    results.push(work(item))
    const turn = yieldIfDue()
    if (turn !== undefined) await turn
  }
  return results
}
