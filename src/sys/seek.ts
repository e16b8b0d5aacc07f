import { checked, errnoName } from './errno.js'
import { bind, lastErrno } from './libc.js'

const lseek = bind('int64_t lseek(int fd, int64_t offset, int whence)')

const SEEK_DATA = 3
const SEEK_HOLE = 4

/** Yields the data of a sparse file as `[start, end)` ranges in order. The gaps between ranges are holes. */
export function* dataRanges(fd: number, size: number): Generator<readonly [start: number, end: number]> {
  for (let at = 0; at < size;) {
    const start = Number(lseek(fd, at, SEEK_DATA))
    if (start < 0) {
      if (errnoName(lastErrno()) === 'ENXIO') return
      checked(start, 'lseek')
    }
    const end = checked(Number(lseek(fd, start, SEEK_HOLE)), 'lseek')
    yield [start, Math.min(end, size)]
    at = end
  }
}
