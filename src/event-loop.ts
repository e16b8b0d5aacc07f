import { setImmediate } from 'node:timers/promises'

/** Far below what a user notices, and far above the cost of one event-loop turn. */
const SLICE_MS = 8

/** Start of the work that keeps the event loop waiting, by `performance.now()`. */
let busySince = 0
/** Resolves after the next turn of the event loop. `undefined` while this thread is not known to be busy. */
let nextTurn: Promise<void> | undefined
/** Whether a caller waits for `nextTurn`. */
let isAwaited = false

/**
 * The one way for long work on a thread to let other work run. Call it between small steps; each call takes less than a
 * microsecond.
 * @returns a promise to await if the event loop has waited for 8 ms; `undefined` if the work may go on
 */
export function yieldIfDue(): Promise<void> | undefined {
  if (nextTurn === undefined) beginSlice()
  if (performance.now() - busySince < SLICE_MS) return undefined
  isAwaited = true
  return nextTurn
}

/** A caller that waited continues at once, so its next slice begins with the turn and not with its next call. */
function beginSlice(): void {
  busySince = performance.now()
  isAwaited = false
  nextTurn = setImmediate().then(() => {
    nextTurn = undefined
    if (isAwaited) beginSlice()
  })
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
