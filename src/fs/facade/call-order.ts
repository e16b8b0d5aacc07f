import { yieldIfDue } from '../../event-loop.js'

/**
 * Runs calls in the order in which they were made. A call that can complete at once does so, unless an earlier one is
 * still running. Then all later calls wait for that one. Calls that complete at once, one after the other, leave the
 * event loop no room, so every few milliseconds one yields to it.
 */
export class CallOrder {
  #last: Promise<unknown> | undefined

  /** `work` must not wait for another call of the same `CallOrder`. */
  async run<T>(work: () => T | Promise<T>): Promise<T> {
    const paced = (): T | Promise<T> => yieldIfDue()?.then(work) ?? work()
    const result = this.#last === undefined ? paced() : this.#last.then(paced, paced)
    return result instanceof Promise ? this.#queue(result) : result
  }

  /** For work that yields midway. It begins after calls that already wait for `next`. */
  pausing<T>(work: () => Promise<T>): Promise<T> {
    return this.run(() => Promise.resolve().then(work))
  }

  /** Returns what a call that does not yield must await before it begins, or `undefined` if it may begin at once. */
  next(): Promise<unknown> | undefined {
    // Later calls wait for the same promise, and so begin after this call, however long it takes to resolve.
    return this.#last === undefined ? yieldIfDue() : this.#queue(this.#last.then(yieldIfDue, yieldIfDue))
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
