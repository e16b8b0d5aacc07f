import { closeSync, constants, openSync } from 'node:fs'
import { isErrno } from '../errors.js'
import { openLockFile } from './open-lock-file.js'
import { hasByteLock, tryByteLock } from '../sys/byte-lock.js'

/**
 * A place in the line of processes that wait for a lock, in order of arrival.
 *
 * The line is a file. A waiting process locks the byte whose offset is its arrival time in microseconds, so the lowest
 * locked byte belongs to the next process. The byte lock ends with its process, which thereby leaves the line. A clock
 * that is set back changes only the order.
 */
export class WaitingLine {
  readonly #fd: number
  readonly #place: bigint

  private constructor(fd: number, place: bigint) {
    this.#fd = fd
    this.#place = place
  }

  /** Whether no process waits. */
  static isEmpty(path: string): boolean {
    const fd = openIfThere(path)
    if (fd === undefined) return true
    try {
      return !hasByteLock(fd)
    } finally {
      closeSync(fd)
    }
  }

  static join(path: string): WaitingLine {
    const fd = openLockFile(path)
    try {
      let place = BigInt(Math.trunc((performance.timeOrigin + performance.now()) * 1000))
      while (!tryByteLock(fd, place)) place += 1n
      return new WaitingLine(fd, place)
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }

  isFirst(): boolean {
    return !hasByteLock(this.#fd, this.#place)
  }

  leave(): void {
    closeSync(this.#fd)
  }
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDWR)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  }
}
