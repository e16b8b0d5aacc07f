import { setImmediate as nextLoop } from 'node:timers/promises'

/** Far below what anybody notices, far above what a turn of the event loop costs. */
const SLICE_MS = 8

/**
 * Keeps calls in the order in which they were made. A call that can be done at once is, unless an earlier one still takes
 * its time: then all that come later wait for it. Calls that are done at once, one after the other, leave the event loop
 * no room: every few milliseconds one waits until the loop has come round.
 */
export class Turn {
  #last: Promise<unknown> | undefined

  /** `work` must not wait for another turn of the same kind. */
  async run<T>(work: () => T | Promise<T>): Promise<T> {
    const paced = (): T | Promise<T> => breath()?.then(work) ?? work()
    const result = this.#last === undefined ? paced() : this.#last.then(paced, paced)
    return result instanceof Promise ? this.#queue(result) : result
  }

  /** For what pauses on its way: it begins after those that wait for `next` already. */
  pausing<T>(work: () => Promise<T>): Promise<T> {
    return this.run(() => Promise.resolve().then(work))
  }

  /** What a call that makes no pause waits for before it begins, if it has to. */
  next(): Promise<unknown> | undefined {
    // What comes after it waits for the same promise, and so begins later, however long that one takes.
    return this.#last === undefined ? breath() : this.#queue(this.#last.then(breath, breath))
  }

  #queue<T>(result: Promise<T>): Promise<T> {
    const forget = () => {
      if (this.#last === result) this.#last = undefined
    }
    this.#last = result
    result.then(forget, forget)
    return result
  }
}

/** What a call waits for before it begins, when the event loop is due to come round. */
export function breath(): Promise<void> | undefined {
  return loop.wait()
}

/** How long this thread has been busy with calls since its event loop last came round. */
class Loop {
  #since: number | undefined
  #next: Promise<void> | undefined

  /** What to wait for, when others are due. */
  wait(): Promise<void> | undefined {
    if (this.#next === undefined) {
      this.#since = performance.now()
      this.#next = nextLoop().then(() => {
        this.#next = undefined
      })
      return undefined
    }
    return performance.now() - (this.#since as number) < SLICE_MS ? undefined : this.#next
  }
}

const loop = new Loop()
