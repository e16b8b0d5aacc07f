import { bind } from './libc.js'

const call = bind('int fallocate(int fd, int mode, int64_t offset, int64_t length)')

const KEEP_SIZE = 1
const PUNCH_HOLE = 2

/** Gives the blocks of a part of a file back, if its file system can; that part reads as zeros. Tells whether it did. */
export function punchHole(fd: number, offset: number, length: number): boolean {
  return call(fd, KEEP_SIZE | PUNCH_HOLE, offset, length) === 0
}
