import { bind, libcAvailable } from './libc.js'

const call = bind('int sync_file_range(int fd, int64_t offset, int64_t bytes, uint flags)')
const SYNC_FILE_RANGE_WRITE = 2

/**
 * Starts writing a file's content to disk, and does not wait. Only a hint: a no-op without system calls, and errors are
 * ignored.
 */
export function beginWriteback(fd: number): void {
  if (libcAvailable().works) call(fd, 0, 0, SYNC_FILE_RANGE_WRITE)
}
