import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Lock } from '../durable/lock.js'
import { isErrno, StoreError } from '../errors.js'
import { openClaim, type Claim } from './layer-claim.js'

/**
 * Tells other processes which layers are open here. A hold ends with its process, however that ends.
 *
 * Holds are taken, changed and given up under the lock of the whole directory, so that a change from one kind to another,
 * which takes more than one step, has no one in between.
 */
export class LayerHolds {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  /**
   * Takes a hold on a layer, and does `work` before anybody else can take or give up one. `sole` tells `work` that
   * nobody else holds the layer: what is mounted there was left behind.
   * @param kind `exclusive` is `LAYER_IN_USE` while another process holds it at all, `shared` while one does exclusively
   */
  async take<T>(
    id: string,
    kind: 'shared' | 'exclusive',
    work: (sole: boolean) => Promise<T>,
  ): Promise<{ hold: LayerHold; result: T }> {
    return this.#locked(async () => {
      const claim = openClaim(this.#directory, id)
      try {
        const sole = await claim.take('exclusive')
        if (!sole && (kind === 'exclusive' || !(await claim.take('shared')))) throw inUse(id)
        const result = await work(sole)
        if (sole && kind === 'shared') await claim.take('shared')
        return { hold: this.#hold(claim), result }
      } catch (error) {
        await claim.leave()
        throw error
      }
    })
  }

  #hold(claim: Claim): LayerHold {
    return {
      release: (last) =>
        this.#locked(async () => {
          try {
            if (!(await claim.take('exclusive'))) return
            await last?.()
            await claim.clear()
          } finally {
            await claim.leave()
          }
        }),
    }
  }

  async #lock(): Promise<Lock> {
    const path = join(this.#directory, '.lock')
    try {
      return await Lock.acquire(path)
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 })
      return Lock.acquire(path)
    }
  }

  async #locked<T>(work: () => Promise<T>): Promise<T> {
    const lock = await this.#lock()
    try {
      return await work()
    } finally {
      await lock.release()
    }
  }
}

export interface LayerHold {
  /** Gives the hold up. `last` is done first if nobody else holds the layer. */
  release(last?: () => Promise<void>): Promise<void>
}

function inUse(id: string): StoreError {
  return new StoreError('LAYER_IN_USE', `another process has layer ${id} open`, {
    hint: 'wait until it is done with it, or end it',
  })
}
