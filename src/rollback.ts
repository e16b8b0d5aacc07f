/** Steps to take back, newest first, unless the work that needed them was finished. */
export class Rollback {
  readonly #steps: (() => unknown)[] = []
  #abandoned = false

  onFailure(undo: () => unknown): void {
    this.#steps.push(undo)
  }

  /** From now on a failure takes nothing back: what was begun is to be finished later. */
  abandon(): void {
    this.#abandoned = true
  }

  /**
   * Runs `work`; if it fails, takes back all that was noted, and rejects with the first error.
   * @param onRemains told when something could not be taken back
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

  /** The first error is the one to report, so a step that fails tells no more than that. */
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
