/**
 * Divides the time of a run among its workloads, in proportion to their weights. The workloads that follow share the
 * time that a workload leaves over, and lose the time by which it exceeds its share.
 */
export class Budget {
  readonly #weights: number[]
  #seconds: number

  constructor(seconds: number, weights: readonly number[]) {
    this.#seconds = seconds
    this.#weights = [...weights]
  }

  /** Returns the seconds for the next workload. */
  next(): number {
    const rest = this.#weights.reduce((sum, weight) => sum + weight, 0)
    const weight = this.#weights.shift() ?? 0
    return rest === 0 ? 0 : Math.max(0, (this.#seconds * weight) / rest)
  }

  /** Deducts the seconds that the workload took. */
  spend(seconds: number): void {
    this.#seconds -= seconds
  }
}
