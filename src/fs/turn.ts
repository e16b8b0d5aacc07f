/**
 * Keeps calls in the order in which they were made. A call that can be done at once is, unless an earlier one still takes
 * its time: then all that come later wait for it.
 */
export class Turn {
  #last: Promise<unknown> | undefined

  /** `work` must not wait for another turn of the same kind. */
  async run<T>(work: () => T | Promise<T>): Promise<T> {
    const result = this.#last === undefined ? work() : this.#last.then(work, work)
    if (!(result instanceof Promise)) return result
    const forget = () => {
      if (this.#last === result) this.#last = undefined
    }
    this.#last = result
    result.then(forget, forget)
    return result
  }
}
