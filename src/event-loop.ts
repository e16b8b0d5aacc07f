import { setImmediate } from 'node:timers/promises'

/** Far below what a user notices, far above the cost of a turn of the event loop. */
const SLICE_MS = 8

/** When this thread began the work that keeps its event loop waiting, by `performance.now()`. */
let busySince = 0
/** Resolves when the event loop has come round. */
let nextTurn: Promise<void> | undefined

/**
 * The one way for long work on a thread to let other work run. Call it between small steps; each call takes less than a
 * microsecond.
 * @returns a promise to await when the event loop has waited for 8 ms; `undefined` when the work may go on
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
 * Maps items by synchronous work of microseconds each, in order, and yields between them. For small files this is faster
 * than asynchronous reads, each of which goes to the thread pool several times.
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
