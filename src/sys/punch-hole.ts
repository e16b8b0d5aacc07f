import { bind } from './libc.js'

const call = bind('int fallocate(int fd, int mode, int64_t offset, int64_t length)')

const KEEP_SIZE = 1
const PUNCH_HOLE = 2

/** Frees the blocks of a range of a file, which then reads as zeros. Returns whether the file system supports this. */
export function punchHole(fd: number, offset: number, length: number): boolean {
  return call(fd, KEEP_SIZE | PUNCH_HOLE, offset, length) === 0
}
