/** Serializes callers in this process that want the same lock, in order of arrival. */
export class Turns {
  readonly #waiting: (() => void)[] = []
  #taken = false

  /**
   * Resolves to `true` when the caller's turn begins; it lasts until `next`. Resolves to `false` after `patience` ms.
   * Rejects with the signal's reason.
   */
  async take(patience: number, signal: AbortSignal | undefined): Promise<boolean> {
    if (this.#taken) return this.#queue(patience, signal)
    this.#taken = true
    return true
  }

  /** Whether no caller has a turn or waits for one. */
  get isIdle(): boolean {
    return !this.#taken
  }

  /** Ends a turn. */
  next(): void {
    const first = this.#waiting.shift()
    if (first === undefined) this.#taken = false
    else first()
  }

  #queue(patience: number, signal: AbortSignal | undefined): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const called = () => leave(() => resolve(true))
      const aborted = () => leave(() => reject(signal?.reason as Error))
      const timer = setTimeout(() => leave(() => resolve(false)), patience)
      const leave = (finish: () => void) => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', aborted)
        const place = this.#waiting.indexOf(called)
        if (place >= 0) this.#waiting.splice(place, 1)
        finish()
      }
      signal?.addEventListener('abort', aborted)
      this.#waiting.push(called)
    })
  }
}
