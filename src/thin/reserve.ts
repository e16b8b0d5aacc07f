import { randomFillSync } from 'node:crypto'
import { closeSync, openSync, statSync, truncateSync, writeSync } from 'node:fs'
import type { BlockDevice } from '../cow/block.js'
import { isNoSpace } from '../errors.js'
import { systemError } from '../sys/errno.js'

const SIZE = 2 << 20
/** Another process may have spent it: looked at again after this long, in ms. */
const LOOK_AGAIN = 100

/**
 * A file beside a pool's that holds nothing: when the disk below is full it is cut to nothing, and gives its room to what
 * must be written to come to an end. As long as it cannot be made again, there is no room for anything else.
 */
export class Reserve {
  readonly #path: string
  #isThere = false
  #looked = -Infinity

  constructor(path: string) {
    this.#path = path
  }

  /** `ENOSPC` when it is not there, and there is no room for it. */
  ensure(): void {
    if (!this.#isThere || performance.now() - this.#looked > LOOK_AGAIN) {
      this.#isThere = this.#size() === SIZE || this.#make()
      this.#looked = performance.now()
    }
    if (!this.#isThere) throw systemError('ENOSPC', 'write')
  }

  /** Tells whether there was any. */
  spend(): boolean {
    if (this.#size() === 0) return false
    truncateSync(this.#path)
    this.#isThere = false
    return true
  }

  #size(): number {
    return statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0
  }

  /** Random bytes: a disk that compresses must keep room for them too. */
  #make(): boolean {
    const fd = openSync(this.#path, 'w', 0o600)
    try {
      const bytes = randomFillSync(Buffer.allocUnsafe(SIZE))
      for (let done = 0; done < SIZE;) done += writeSync(fd, bytes, done)
      return true
    } catch (error) {
      if (!isNoSpace(error)) throw error
      truncateSync(this.#path)
      return false
    } finally {
      closeSync(fd)
    }
  }
}

/** A file as a device whose urgent writes may spend the reserve. */
export function withReserve(device: BlockDevice, reserve: Reserve): BlockDevice {
  return {
    name: device.name,
    capacity: device.capacity,
    read: (buffer, offset) => device.read(buffer, offset),
    write: (bytes, offset, urgent) => {
      try {
        device.write(bytes, offset)
      } catch (error) {
        if (urgent !== true || !isNoSpace(error) || !reserve.spend()) throw error
        device.write(bytes, offset)
      }
    },
    makeRoom: () => reserve.ensure(),
    flush: () => device.flush(),
    flushLater: () => device.flushLater(),
    discard: (offset, length) => device.discard(offset, length),
    close: () => device.close(),
  }
}
