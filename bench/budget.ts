/**
 * Shares the time of a run among its workloads, by their weights. What one leaves over goes to those that follow, and
 * what one takes too much is taken from them.
 */
export class Budget {
  readonly #weights: number[]
  #seconds: number

  constructor(seconds: number, weights: readonly number[]) {
    this.#seconds = seconds
    this.#weights = [...weights]
  }

  /** Seconds for the next workload. */
  next(): number {
    const rest = this.#weights.reduce((sum, weight) => sum + weight, 0)
    const weight = this.#weights.shift() ?? 0
    return rest === 0 ? 0 : Math.max(0, (this.#seconds * weight) / rest)
  }

  /** What it did take. */
  spend(seconds: number): void {
    this.#seconds -= seconds
  }
}
