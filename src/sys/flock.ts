import { checked, errnoName } from './errno.js'
import { bind, lastErrno } from './libc.js'

const call = bind('int flock(int fd, int operation)')

const OPERATIONS = { shared: 1, exclusive: 2 } as const
const NON_BLOCKING = 4
const UNLOCK = 8

/** Takes the lock if it is free. Returns whether it did. The lock belongs to the open file description. */
export function tryFlock(fd: number, kind: keyof typeof OPERATIONS): boolean {
  if (call(fd, OPERATIONS[kind] | NON_BLOCKING) === 0) return true
  if (errnoName(lastErrno()) === 'EAGAIN') return false
  checked(-1, 'flock')
  return false
}

export function unlockFlock(fd: number): void {
  checked(call(fd, UNLOCK), 'flock')
}
