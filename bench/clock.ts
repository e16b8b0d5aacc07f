import { allocatedOn } from './allocation.js'
import { startCpuTime } from './cpu-time.js'
import type { LoopDelay } from './loop-delay.js'
import type { Sample } from './result.js'

/** What a task tells the time with. Only what runs in a phase is measured; what is before, between and after is free. */
export class Clock {
  readonly #loop: LoopDelay | undefined
  readonly #countsDisk: boolean
  readonly #phases = new Map<string, number>()
  readonly #asides = new Map<string, number>()
  readonly #helpers: string | undefined
  #cpu = 0
  #allocated: number | undefined

  /**
   * @param loop counts delays over several clocks
   * @param helpers see `Task`
   */
  constructor(loop: LoopDelay | undefined, countsDisk: boolean, helpers: string | undefined) {
    this.#loop = loop
    this.#helpers = helpers
    this.#countsDisk = countsDisk
  }

  /** Times `work`, which does something `operations` times. A name that comes again is added up. */
  async phase<T>(name: string, work: () => T | Promise<T>, operations = 1): Promise<T> {
    const cpuTime = startCpuTime(this.#helpers)
    this.#loop?.begin()
    const begun = performance.now()
    const result = await work()
    const took = (performance.now() - begun) / 1000
    this.#loop?.stop()
    this.#cpu += cpuTime() / operations
    this.#phases.set(name, (this.#phases.get(name) ?? 0) + took / operations)
    return result
  }

  /** Takes what another program measured: seconds per operation. */
  told(phases: Readonly<Record<string, number>>, cpu: number): void {
    for (const [name, took] of Object.entries(phases)) this.#phases.set(name, took)
    this.#cpu += cpu
  }

  /** Times what is told beside, and not part of the total: the sync that a peer leaves out. */
  async aside(name: string, work: () => Promise<void>): Promise<void> {
    const begun = performance.now()
    await work()
    this.#asides.set(name, (this.#asides.get(name) ?? 0) + (performance.now() - begun) / 1000)
  }

  /** Counts what a directory takes more on disk after `work` than before, in the one sample where that is asked. */
  async growth<T>(directory: string, work: () => Promise<T>): Promise<T> {
    if (!this.#countsDisk) return work()
    const before = allocatedOn(directory)
    const result = await work()
    this.#allocated = (this.#allocated ?? 0) + allocatedOn(directory) - before
    return result
  }

  get allocated(): number | undefined {
    return this.#allocated
  }

  get sample(): Sample {
    const phases = Object.fromEntries(this.#phases)
    const total = Object.values(phases).reduce((sum, took) => sum + took, 0)
    return {
      total,
      cpu: this.#cpu,
      phases,
      ...(this.#asides.size > 0 && { asides: Object.fromEntries(this.#asides) }),
    }
  }
}
