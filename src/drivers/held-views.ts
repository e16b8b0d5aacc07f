import { StoreError, storeError } from '../errors.js'
import type { LayerView } from './driver.js'
import type { LayerHolds } from './layer-holds.js'

export interface OpenedView extends LayerView {
  /** Undoes what opening did. */
  close(): Promise<void>
}

/** Counts `get` and `put`: the first opens a view, the last closes it, and those between share it. */
export class HeldViews {
  readonly #held = new Map<string, { count: number; readonly opened: Promise<OpenedView> }>()
  readonly #closing = new Map<string, Promise<void>>()

  async get(id: string, open: () => Promise<OpenedView>): Promise<LayerView> {
    const held = this.#held.get(id) ?? this.#open(id, open)
    held.count++
    try {
      return await held.opened
    } catch (error) {
      if (this.#held.get(id) === held) this.#held.delete(id)
      throw error
    }
  }

  async put(id: string): Promise<void> {
    const held = this.#held.get(id)
    if (held === undefined || --held.count > 0) return
    this.#held.delete(id)
    const closing = held.opened
      .then((view) => view.close())
      .finally(() => {
        if (this.#closing.get(id) === closing) this.#closing.delete(id)
      })
    this.#closing.set(id, closing)
    await closing
  }

  has(id: string): boolean {
    return this.#held.has(id)
  }

  /** Does what nobody may have a view open for, in this process or another; `LAYER_IN_USE` if somebody has. */
  async whileUnused(id: string, holds: LayerHolds, work: () => Promise<void>): Promise<void> {
    if (this.#held.has(id) || this.#closing.has(id)) {
      throw new StoreError('LAYER_IN_USE', `a view of layer ${id} is open`, { hint: 'put it first' })
    }
    try {
      const { hold } = await holds.take(id, 'exclusive', async () => undefined)
      try {
        await work()
      } finally {
        await hold.release()
      }
    } catch (error) {
      throw storeError(error, 'SYSTEM', `could not change layer ${id}`)
    }
  }

  /**
   * Closes every view, however often it was got, and waits for those that are being closed. Rejects with the first error,
   * after trying all.
   */
  async closeAll(): Promise<void> {
    const closing = [...this.#closing.values()]
    const results = await Promise.allSettled([
      ...closing,
      ...[...this.#held].map(([id, held]) => {
        held.count = 1
        return this.put(id)
      }),
    ])
    const failed = results.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  #open(
    id: string,
    open: () => Promise<OpenedView>,
  ): { count: number; readonly opened: Promise<OpenedView> } {
    const closing = this.#closing.get(id) ?? Promise.resolve()
    const held = { count: 0, opened: closing.catch(() => undefined).then(open) }
    this.#held.set(id, held)
    return held
  }
}
