import { join } from 'node:path'
import { namesIn, removeAbandoned } from '../durable/abandoned.js'
import { clearLockFiles } from '../durable/lock-file.js'
import { KeyedLocks, type Release } from '../durable/keyed-lock.js'
import { makeDirectories } from '../durable/make-directory.js'
import { isErrno, StoreError } from '../errors.js'
import { openClaim, type Claim } from './layer-claim.js'

/** The layer's id in the name of a claim. */
const ID = /^([^.].*?)(?:\.[a-f0-9]{12})?$/

/**
 * Tells other processes which layers are open here. A hold ends with its process, however that ends.
 *
 * 1. A layer's hold is taken, changed and given up under the layer's own lock. So a change from one kind to
 *    another, which takes several steps, is seen whole.
 * 2. Mounting, unmounting and syncing a layer happen under that lock too. They delay callers that want the same layer, and
 *    no others.
 * 3. The last holder removes the layer's files from the directory. `tidy` removes those of processes that have ended.
 */
export class LayerHolds {
  readonly #directory: string
  readonly #locks: KeyedLocks

  constructor(directory: string) {
    this.#directory = directory
    this.#locks = new KeyedLocks(join(directory, '.lock'))
  }

  /**
   * Takes a hold on a layer, and does `work` before another process can take or give up one. `sole` tells `work` that
   * there is no other holder: a mount found there was left behind.
   * @param kind `exclusive` is `LAYER_IN_USE` while another process has any hold, `shared` while one has an exclusive hold
   */
  async take<T>(
    id: string,
    kind: 'shared' | 'exclusive',
    work: (sole: boolean) => Promise<T>,
  ): Promise<{ hold: LayerHold; result: T }> {
    return this.#locked(id, async () => {
      const claim = openClaim(this.#directory, id)
      let sole = false
      try {
        sole = await claim.take('exclusive')
        if (!sole && (kind === 'exclusive' || !(await claim.take('shared')))) throw inUse(id)
        const result = await work(sole)
        if (sole && kind === 'shared') await claim.take('shared')
        return { hold: this.#hold(id, claim), result }
      } catch (error) {
        if (sole) await claim.clear()
        await claim.leave()
        throw error
      }
    })
  }

  /** Removes what processes that have ended left in the directory. Holds of running processes stay. */
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
      const claim = openClaim(this.#directory, id)
      try {
        if (!(await claim.take('exclusive'))) return
        await claim.clear()
      } finally {
        await claim.leave()
      }
    } finally {
      await release()
    }
  }

  #hold(id: string, claim: Claim): LayerHold {
    let isHeld = true
    return {
      release: (last) =>
        this.#locked(id, async () => {
          if (!isHeld) return
          try {
            if (!(await claim.take('exclusive'))) return
            await last?.()
            await claim.clear()
          } finally {
            isHeld = false
            await claim.leave()
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
  /** Gives the hold up. `last` is done first if there is no other holder. If the lock cannot be had, the hold stays. */
  release(last?: () => Promise<void>): Promise<void>
}

function inUse(id: string): StoreError {
  return new StoreError('LAYER_IN_USE', `another process has layer ${id} open`, {
    hint: 'wait until it is done with it, or end it',
  })
}
