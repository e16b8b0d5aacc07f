import { yieldIfDue } from '../../event-loop.js'

/**
 * Keeps calls in the order in which they were made. A call that can be done at once is, unless an earlier one still takes
 * its time: then all that come later wait for it. Calls that are done at once, one after the other, leave the event loop
 * no room: every few milliseconds one waits until the loop has come round.
 */
export class CallOrder {
  #last: Promise<unknown> | undefined

  /** `work` must not wait for another turn of the same kind. */
  async run<T>(work: () => T | Promise<T>): Promise<T> {
    const paced = (): T | Promise<T> => yieldIfDue()?.then(work) ?? work()
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
