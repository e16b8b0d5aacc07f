import { join } from 'node:path'
import { namesIn, removeAbandoned } from '../durable/abandoned.js'
import { clearLockFiles } from '../durable/lock-file.js'
import { KeyedLocks, type Release } from '../durable/keyed-lock.js'
import { makeDirectories } from '../durable/make-directory.js'
import { isErrno, StoreError } from '../errors.js'
import { openHoldFile, type HoldFile } from './hold-file.js'

/** Extracts the layer's id from the name of a hold file. */
const ID = /^([^.].*?)(?:\.[a-f0-9]{12})?$/

/**
 * Records which layers this process has open, for other processes to see. A hold ends with its process, however the
 * process ends.
 *
 * 1. A layer's hold is taken, changed and released under the layer's own lock. So other processes never see a
 *    multi-step change between kinds half done.
 * 2. Mounting, unmounting and syncing a layer happen under that lock too. They delay only callers that want the same
 *    layer.
 * 3. The last holder removes the layer's files from the directory. `tidy` removes the files of processes that have
 *    ended.
 */
export class LayerHolds {
  readonly #directory: string
  readonly #locks: KeyedLocks

  constructor(directory: string) {
    this.#directory = directory
    this.#locks = new KeyedLocks(join(directory, '.lock'))
  }

  /**
   * Takes a hold on a layer and runs `work` before another process can take or release one. `sole` is true if the layer
   * has no other holder: a mount that `work` finds then was left behind.
   * @param kind `exclusive` rejects with `LAYER_IN_USE` while another process has any hold, `shared` while another
   *   process has an exclusive hold
   */
  async take<T>(
    id: string,
    kind: 'shared' | 'exclusive',
    work: (sole: boolean) => Promise<T>,
  ): Promise<{ hold: LayerHold; result: T }> {
    return this.#locked(id, async () => {
      const file = openHoldFile(this.#directory, id)
      let sole = false
      try {
        sole = await file.take('exclusive')
        if (!sole && (kind === 'exclusive' || !(await file.take('shared')))) throw inUse(id)
        const result = await work(sole)
        if (sole && kind === 'shared') await file.take('shared')
        return { hold: this.#hold(id, file), result }
      } catch (error) {
        if (sole) await file.clear()
        await file.leave()
        throw error
      }
    })
  }

  /** Removes what ended processes left in the directory. Holds of running processes stay. */
  async tidy(): Promise<void> {
    await removeAbandoned(this.#directory)
    await clearLockFiles(this.#directory)
    const ids = namesIn(this.#directory).map((name) => ID.exec(name)?.[1])
    for (const id of new Set(ids)) if (id !== undefined) await this.#tidyLayer(id)
  }

  async #tidyLayer(id: string): Promise<void> {
    const release = await this.#locks.tryAcquire(id)
    if (release === undefined) return
    try {
      const file = openHoldFile(this.#directory, id)
      try {
        if (!(await file.take('exclusive'))) return
        await file.clear()
      } finally {
        await file.leave()
      }
    } finally {
      await release()
    }
  }

  #hold(id: string, file: HoldFile): LayerHold {
    let isHeld = true
    return {
      release: (last) =>
        this.#locked(id, async () => {
          if (!isHeld) return
          try {
            if (!(await file.take('exclusive'))) return
            await last?.()
            await file.clear()
          } finally {
            isHeld = false
            await file.leave()
          }
        }),
    }
  }

  async #locked<T>(id: string, work: () => Promise<T>): Promise<T> {
    const release = await this.#lock(id)
    try {
      return await work()
    } finally {
      await release()
    }
  }

  async #lock(id: string): Promise<Release> {
    try {
      return await this.#locks.acquire(id)
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error
      makeDirectories(this.#directory, 0o700)
      return this.#locks.acquire(id)
    }
  }
}

export interface LayerHold {
  /**
   * Releases the hold. Runs `last` first if there is no other holder. If the lock cannot be acquired, the hold stays.
   */
  release(last?: () => Promise<void>): Promise<void>
}

function inUse(id: string): StoreError {
  return new StoreError('LAYER_IN_USE', `another process has layer ${id} open`, {
    hint: 'wait until it closes the layer, or end it',
  })
}
