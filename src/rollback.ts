/** Undo steps, which run newest first if the work fails. */
export class Rollback {
  readonly #steps: (() => unknown)[] = []
  #abandoned = false

  onFailure(undo: () => unknown): void {
    this.#steps.push(undo)
  }

  /** After this, a failure undoes nothing: the work is to be completed later. */
  abandon(): void {
    this.#abandoned = true
  }

  /**
   * Runs `work`. If it fails, runs all undo steps and rejects with the first error.
   * @param onRemains called if something was not undone
   */
  static async guard<T>(work: (rollback: Rollback) => Promise<T>, onRemains?: () => void): Promise<T> {
    const rollback = new Rollback()
    try {
      return await work(rollback)
    } catch (error) {
      if (!(await rollback.#undo())) onRemains?.()
      throw error
    }
  }

  /**
   * Returns whether everything was undone. Ignores errors of the steps, because the first error is the one to report.
   */
  async #undo(): Promise<boolean> {
    if (this.#abandoned) return false
    let isWhole = true
    for (const step of this.#steps.toReversed()) {
      try {
        await step()
      } catch {
        isWhole = false
      }
    }
    return isWhole
  }
}
