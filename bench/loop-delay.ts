import { createHistogram } from 'node:perf_hooks'

const EVERY_MS = 2

/** Measures the delay of the event loop between `begin` and `stop`, over any number of such intervals. */
export class LoopDelay {
  readonly #delays = createHistogram()
  #timer: NodeJS.Timeout | undefined
  #last = 0

  begin(): void {
    this.#last = performance.now()
    this.#timer = setInterval(() => this.#tick(), EVERY_MS)
  }

  /** Stops, and counts the delay of a loop that has been blocked until now. */
  stop(): void {
    this.#tick()
    clearInterval(this.#timer)
  }

  /** In seconds. */
  get seen(): { readonly p99: number; readonly max: number } | undefined {
    if (this.#delays.count === 0) return undefined
    return { p99: this.#delays.percentile(99) / 1e9, max: this.#delays.max / 1e9 }
  }

  #tick(): void {
    const now = performance.now()
    const late = now - this.#last - EVERY_MS
    this.#last = now
    this.#delays.record(Math.max(1, Math.round(late * 1e6)))
  }
}
