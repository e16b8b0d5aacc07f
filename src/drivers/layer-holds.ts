import { closeSync, constants, mkdirSync, openSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { Lock } from '../durable/lock.js'
import { StoreError } from '../errors.js'
import { tryFlock } from '../sys/flock.js'
import { libcAvailable } from '../sys/libc.js'

/**
 * Tells other processes which layers are open here. A hold is a flock on a file of the layer's: the kernel lets go of it
 * when the process dies, however it dies.
 *
 * 1. Holds are taken, changed and given up under the lock of the whole directory, so that a change from one kind to
 *    another, which flock does not do in one step, has no one in between.
 * 2. A file that nobody locks means nothing: it is removed by the last holder, or reused.
 *
 * Without system calls there are no holds; then one root is for one process, as the README says.
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
    if (!libcAvailable().works) return { hold: NO_HOLD, result: await work(true) }
    return this.#locked(async () => {
      const path = join(this.#directory, id)
      const fd = openSync(path, OPEN, 0o600)
      try {
        const sole = tryFlock(fd, 'exclusive')
        if (!sole && (kind === 'exclusive' || !tryFlock(fd, 'shared'))) throw inUse(id)
        const result = await work(sole)
        if (sole && kind === 'shared') tryFlock(fd, 'shared')
        return { hold: this.#hold(path, fd), result }
      } catch (error) {
        closeSync(fd)
        throw error
      }
    })
  }

  #hold(path: string, fd: number): LayerHold {
    return {
      release: (last) =>
        this.#locked(async () => {
          try {
            if (!tryFlock(fd, 'exclusive')) return
            await last?.()
            unlinkSync(path)
          } finally {
            closeSync(fd)
          }
        }),
    }
  }

  async #locked<T>(work: () => Promise<T>): Promise<T> {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 })
    const lock = await Lock.acquire(join(this.#directory, '.lock'))
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

const OPEN = constants.O_RDWR | constants.O_CREAT
const NO_HOLD: LayerHold = {
  release: async (last) => last?.(),
}

function inUse(id: string): StoreError {
  return new StoreError('LAYER_IN_USE', `another process has layer ${id} open`, {
    hint: 'wait until it is done with it, or end it',
  })
}
