import { closeSync, existsSync, openSync, readFileSync, statSync } from 'node:fs'
import { isErrno } from '../errors.js'
import { ioctl, ioctlNumber } from './ioctl.js'
import { mknod } from './mknod.js'

const CONTROL = '/dev/loop-control'
const LOOP_MAJOR = 7
const LOOP_GET_STATUS64 = 0x4c05
const LOOP_SET_CAPACITY = 0x4c07
const LOOP_CONFIGURE = 0x4c0a
const LOOP_CTL_GET_FREE = 0x4c82
const LO_FLAGS_READ_ONLY = 1
const LO_FLAGS_AUTOCLEAR = 4
const TRIES = 100

/** A file as a block device. It detaches when the last user closes the device. */
export interface LoopDevice {
  readonly fd: number
  readonly path: string
  readonly major: number
  readonly minor: number
}

/**
 * Attaches a file to a free loop device. The caller closes `fd` once other users have opened the device, or it is no
 * longer needed.
 */
export function attachLoop(file: string, { readOnly = false } = {}): LoopDevice {
  const backing = openSync(file, readOnly ? 'r' : 'r+')
  try {
    for (let tries = 1; ; tries++) {
      const minor = freeLoop()
      const path = `/dev/loop${minor}`
      if (!existsSync(path)) mknod(path, 'block', 0o600, LOOP_MAJOR, minor)
      const fd = openSync(path, readOnly ? 'r' : 'r+')
      try {
        ioctl(fd, LOOP_CONFIGURE, configuration(backing, file, readOnly), 'LOOP_CONFIGURE', path)
        return { fd, path, major: LOOP_MAJOR, minor }
      } catch (error) {
        closeSync(fd)
        // Another process took this device first.
        if (!isErrno(error, 'EBUSY') || tries === TRIES) throw error
      }
    }
  } finally {
    closeSync(backing)
  }
}

/** Returns the path of the file behind a loop device; `undefined` if the device is not one. */
export function fileOfLoop(major: number, minor: number): string | undefined {
  try {
    return readFileSync(`/sys/dev/block/${major}:${minor}/loop/backing_file`, 'utf8').trimEnd()
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENXIO')) return undefined
    throw error
  }
}

/** Whether this very file is behind a loop device, not an earlier file at the same path. */
export function isLoopOf(path: string, file: string): boolean {
  const status = Buffer.alloc(232)
  const fd = openSync(path, 'r')
  try {
    ioctl(fd, LOOP_GET_STATUS64, status, 'LOOP_GET_STATUS64', path)
  } catch (error) {
    if (isErrno(error, 'ENXIO', 'ENOTTY')) return false
    throw error
  } finally {
    closeSync(fd)
  }
  const { dev, ino } = statSync(file, { bigint: true })
  return status.readBigUInt64LE(0) === dev && status.readBigUInt64LE(8) === ino
}

/** Grows the device to the current size of its file. */
export function growLoop(path: string): void {
  const fd = openSync(path, 'r+')
  try {
    ioctlNumber(fd, LOOP_SET_CAPACITY, 0, 'LOOP_SET_CAPACITY')
  } finally {
    closeSync(fd)
  }
}

function freeLoop(): number {
  const fd = openSync(CONTROL, 'r+')
  try {
    return ioctlNumber(fd, LOOP_CTL_GET_FREE, 0, 'LOOP_CTL_GET_FREE')
  } finally {
    closeSync(fd)
  }
}

/** `struct loop_config`, which contains a `struct loop_info64`. */
function configuration(backing: number, file: string, readOnly: boolean): Buffer {
  const config = Buffer.alloc(304)
  config.writeUInt32LE(backing, 0)
  config.writeUInt32LE(LO_FLAGS_AUTOCLEAR | (readOnly ? LO_FLAGS_READ_ONLY : 0), 60)
  config.write(file, 64, 63)
  return config
}
