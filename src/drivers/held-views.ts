import { StoreError, storeError } from '../errors.js'
import type { LayerView } from './driver.js'
import type { LayerHold, LayerHolds } from './layer-holds.js'

export interface OpenedView extends LayerView {
  /** Undoes what opening did. If it fails, a second call finishes the rest. */
  close(): Promise<void>
}

/** Returns a close of several steps. If a step fails, the next call resumes with that step. */
export function inSteps(...steps: readonly (() => unknown)[]): () => Promise<void> {
  let done = 0
  return async () => {
    for (; done < steps.length; done++) await steps[done]?.()
  }
}

/** Runs `open` under a hold. Releases the hold if `open` fails. */
export async function orRelease<T>(hold: LayerHold | undefined, open: () => T): Promise<T> {
  try {
    return open()
  } catch (error) {
    await hold?.release()
    throw error
  }
}

/**
 * Counts `get` and `put`: the first `get` opens a view, the last `put` closes it, and calls in between share it.
 *
 * If closing a view fails, for lack of descriptors for instance, the next call on its layer closes it again.
 */
export class HeldViews {
  readonly #held = new Map<string, { count: number; readonly opened: Promise<OpenedView> }>()
  readonly #closing = new Map<string, Promise<void>>()
  /** Views that failed to close. */
  readonly #unclosed = new Map<string, OpenedView>()

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
    if (held === undefined) return this.#closeAgain(id)
    if (--held.count > 0) return
    this.#held.delete(id)
    await this.#close(id, held.opened)
  }

  has(id: string): boolean {
    return this.#held.has(id)
  }

  /** Runs `work` while no process has a view of the layer open. Rejects with `LAYER_IN_USE` if a view is open. */
  async whileUnused(id: string, holds: LayerHolds, work: () => Promise<void>): Promise<void> {
    if (this.#held.has(id) || this.#closing.has(id)) {
      throw new StoreError('LAYER_IN_USE', `a view of layer ${id} is open`, { hint: 'call put() first' })
    }
    await this.#closeAgain(id)
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
   * Closes every view, whatever its count, and waits for views that are already closing. Tries all of them, then
   * rejects with the first error.
   */
  async closeAll(): Promise<void> {
    const closing = [...this.#closing.values()]
    for (const held of this.#held.values()) held.count = 1
    const ids = new Set([...this.#held.keys(), ...this.#unclosed.keys()])
    const results = await Promise.allSettled([...closing, ...[...ids].map((id) => this.put(id))])
    const failed = results.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  #open(
    id: string,
    open: () => Promise<OpenedView>,
  ): { count: number; readonly opened: Promise<OpenedView> } {
    const closing = this.#closing.get(id) ?? Promise.resolve()
    const closed = closing.catch(() => undefined).then(() => this.#closeAgain(id))
    const held = { count: 0, opened: closed.then(open) }
    this.#held.set(id, held)
    return held
  }

  async #closeAgain(id: string): Promise<void> {
    const view = this.#unclosed.get(id)
    if (view !== undefined) await this.#close(id, Promise.resolve(view))
  }

  async #close(id: string, opened: Promise<OpenedView>): Promise<void> {
    const closing = opened
      .then(async (view) => {
        this.#unclosed.set(id, view)
        await view.close()
        this.#unclosed.delete(id)
      })
      .finally(() => {
        if (this.#closing.get(id) === closing) this.#closing.delete(id)
      })
    this.#closing.set(id, closing)
    await closing
  }
}
