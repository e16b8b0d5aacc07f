import { closeSync, constants, openSync } from 'node:fs'
import { checked } from './errno.js'
import { bind, bindAsync, type HostPath } from './libc.js'

const PROTOTYPE = 'int ioctl(int fd, ulong request, void *argument)'
const call = bind(PROTOTYPE)
const callElsewhere = bindAsync(PROTOTYPE)
const callWithNumber = bind('int ioctl(int fd, ulong request, long argument)')

const NR_BITS = 8
const SIZE_SHIFT = 16
const DIRECTIONS = { none: 0, write: 1, read: 2, both: 3 } as const

/** Computes a request number (asm-generic/ioctl.h). */
export function request(
  direction: keyof typeof DIRECTIONS,
  type: number,
  number: number,
  size: number,
): number {
  return DIRECTIONS[direction] * 2 ** 30 + (size << SIZE_SHIFT) + (type << NR_BITS) + number
}

/** The kernel reads its argument from the buffer and writes its answer there. */
export function ioctl(fd: number, number: number, argument: Buffer, name: string, path?: HostPath): number {
  return checked(call(fd, number, argument), `ioctl ${name}`, path)
}

/**
 * The same on another thread. The descriptor must stay open until the call ends. A failed call is repeated on this
 * thread, where its errno is known.
 */
export async function ioctlElsewhere(
  fd: number,
  number: number,
  argument: Buffer,
  name: string,
  path?: HostPath,
): Promise<number> {
  const result = await callElsewhere(fd, number, argument)
  return result < 0 ? ioctl(fd, number, argument, name, path) : result
}

export function ioctlNumber(fd: number, number: number, argument: number, name: string): number {
  return checked(callWithNumber(fd, number, argument), `ioctl ${name}`)
}

/** Runs `work` with the directory open. */
export function withDirectory<T>(path: HostPath, work: (fd: number) => T): T {
  const fd = openDirectory(path)
  try {
    return work(fd)
  } finally {
    closeSync(fd)
  }
}

/** The same for asynchronous work. */
export async function holdingDirectory<T>(path: HostPath, work: (fd: number) => T | Promise<T>): Promise<T> {
  const fd = openDirectory(path)
  try {
    return await work(fd)
  } finally {
    closeSync(fd)
  }
}

/** Opens a directory. Rejects a symlink. */
export function openDirectory(path: HostPath): number {
  return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
}
