import { randomFillSync } from 'node:crypto'
import { closeSync, openSync, statSync, truncateSync, writeSync } from 'node:fs'
import type { BlockDevice } from '../cow/block.js'
import { isNoSpace } from '../errors.js'
import { systemError } from '../sys/errno.js'

const SIZE = 2 << 20
/** Another process may have spent the reserve, so it is checked again after this long, in ms. */
const LOOK_AGAIN = 100

/**
 * A file beside a pool's files that only reserves space. If the underlying disk is full, the file is truncated, so that
 * writes that must complete have room. Until it can be created again, all other changes fail with `ENOSPC`.
 */
export class Reserve {
  readonly #path: string
  #isThere = false
  #looked = -Infinity

  constructor(path: string) {
    this.#path = path
  }

  /** Creates the reserve if it is missing. Throws `ENOSPC` if there is no room for it. */
  ensure(): void {
    if (!this.#isThere || performance.now() - this.#looked > LOOK_AGAIN) {
      this.#isThere = this.#size() === SIZE || this.#make()
      this.#looked = performance.now()
    }
    if (!this.#isThere) throw systemError('ENOSPC', 'write')
  }

  /** Truncates the reserve. Returns whether it had any bytes. */
  spend(): boolean {
    if (this.#size() === 0) return false
    truncateSync(this.#path)
    this.#isThere = false
    return true
  }

  #size(): number {
    return statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0
  }

  /** Fills the file with random bytes, so that a disk that compresses must keep room for them too. */
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

/** Wraps a device so that urgent writes may spend the reserve. */
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
