import { allocatedOn } from './allocation.js'
import { startCpuTime } from './cpu-time.js'
import type { LoopDelay } from './loop-delay.js'
import type { Sample } from './result.js'

/** Measures one sample of a task. Only phases count; work before, between and after them does not. */
export class Clock {
  readonly #loop: LoopDelay | undefined
  readonly #countsDisk: boolean
  readonly #phases = new Map<string, number>()
  readonly #asides = new Map<string, number>()
  readonly #helpers: string | undefined
  #cpu = 0
  #allocated: number | undefined

  /**
   * @param loop collects event-loop delays across samples
   * @param countsDisk whether `growth` measures the allocation on disk
   * @param helpers see `Task.helpers`
   */
  constructor(loop: LoopDelay | undefined, countsDisk: boolean, helpers: string | undefined) {
    this.#loop = loop
    this.#helpers = helpers
    this.#countsDisk = countsDisk
  }

  /** Times `work`, which performs `operations` operations. Phases of the same name are added up. */
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

  /** Adds the measurements of another program, in seconds per operation. */
  record(phases: Readonly<Record<string, number>>, cpu: number): void {
    for (const [name, took] of Object.entries(phases)) this.#phases.set(name, took)
    this.#cpu += cpu
  }

  /** Times work that is reported separately and is not part of the total, such as a peer's missing sync. */
  async aside(name: string, work: () => Promise<void>): Promise<void> {
    const begun = performance.now()
    await work()
    this.#asides.set(name, (this.#asides.get(name) ?? 0) + (performance.now() - begun) / 1000)
  }

  /** Measures by how much `work` grows the allocation of a directory, if this sample counts it. */
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
